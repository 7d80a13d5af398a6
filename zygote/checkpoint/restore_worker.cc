#include "zygote/checkpoint/restore_worker.h"

#include <fcntl.h>
#include <linux/landlock.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <iterator>
#include <utility>

#include "sandbox/steps/step.h"
#include "sandbox/sys/clone.h"
#include "sandbox/sys/fault_point.h"
#include "sandbox/sys/fd_message.h"
#include "sandbox/sys/step_log.h"
#include "zygote/branch/worker_process.h"
#include "zygote/checkpoint/await_criu.h"
#include "zygote/checkpoint/clone_inside.h"
#include "zygote/checkpoint/clone_with_number.h"
#include "zygote/checkpoint/try_step.h"
#include "zygote/checkpoint_protocol.h"

namespace spore {
namespace {

constexpr const char* kLastPid = "/proc/sys/kernel/ns_last_pid";
constexpr char kFinish = 'x';
constexpr int kBesideCriuMs = 10'000;  // everything but CRIU, which has a limit of its own
constexpr uint64_t kEndLimitNs = 2'000'000'000;
constexpr size_t kMostMounts = 4;
constexpr uint64_t kTruncate = 1u << 14;  // Landlock's, of its ABI 3

struct Report {
  uint32_t error_kind = 0;
  uint32_t mounts = 0;
  char error[480] = {};  // empty: none
  ForbiddenMount mount[kMostMounts] = {};
};

Report ReportOf(const Result<>& result, const std::vector<ForbiddenMount>& mounts) {
  Report report;
  report.mounts = static_cast<uint32_t>(std::min(mounts.size(), kMostMounts));
  std::copy_n(mounts.begin(), report.mounts, report.mount);
  if (!result) PutError(result.error(), report);
  return report;
}

// Numbers are given to what CRIU clones by this file, which the kernel lets it write to by its one
// capability, if Landlock does.
Result<> AllowLastPid(int ruleset) {
  const UniqueFd file(open(kLastPid, O_PATH | O_CLOEXEC));
  if (!file) return SysError("open", kLastPid, "the kernel needs CONFIG_CHECKPOINT_RESTORE");
  const long abi =
      syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION);
  landlock_path_beneath_attr rule{};
  rule.allowed_access = LANDLOCK_ACCESS_FS_WRITE_FILE | (abi >= 3 ? kTruncate : 0);
  rule.parent_fd = file.get();
  if (syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) < 0)
    return SysError("landlock_add_rule", kLastPid);
  return {};
}

Result<> SetLastPid(pid_t last) {
  const UniqueFd file(open(kLastPid, O_WRONLY | O_CLOEXEC));
  const std::string text = std::to_string(last);
  if (!file || write(file.get(), text.data(), text.size()) < 0)
    return SysError("write", kLastPid, "the kernel needs CONFIG_CHECKPOINT_RESTORE");
  return {};
}

// `become` is called in a process of its own, which it makes CRIU.
template <typename Become>
Result<> RunCriu(const Become& become, std::chrono::milliseconds limit) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) < 0) return SysError("make a pipe");
  const UniqueFd log(ends[0]);
  UniqueFd write_end(ends[1]);
  UniqueFd pidfd;
  const pid_t pid = CloneProcess({.exit_signal = SIGCHLD}, &pidfd);
  if (pid < 0) return SysError("clone a process for CRIU");
  if (pid == 0) {
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    const Result<> failed = become(write_end.get());
    const std::string message = failed.error().Message();
    (void)!write(write_end.get(), message.data(), message.size());
    _exit(kCriuNotStarted);
  }
  write_end.Reset();
  return AwaitCriuEnd(pid, pidfd.get(), log.get(), limit);
}

// What CRIU that reads images shall know of the kernel, and could not find out.
Result<> FindKernelFacts(const ConfinedCriu& criu, uid_t owner) {
  constexpr int kRoot = wire::kCheckpointFolderFd;
  if (mkdirat(kRoot, kKernelFacts, 0700) < 0 || fchownat(kRoot, kKernelFacts, owner, owner, 0) < 0)
    return SysError("make a folder of a checkpoint", kKernelFacts);
  const Result<> ended =
      RunCriu([&](int log) { return BecomeCriuForKernel(criu, log); }, criu.options.limit);
  const std::string file = std::string(kKernelFacts) + "/" + kKernelFactsFile;
  if (faccessat(kRoot, file.c_str(), F_OK, AT_SYMLINK_NOFOLLOW) < 0) {
    SPORE_TRY(ended);
    return MakeError(ErrorKind::kPrecondition, "CRIU does not keep what it finds out");
  }
  // Read by everybody from here on, changed by nobody.
  if (fchownat(kRoot, file.c_str(), 0, 0, AT_SYMLINK_NOFOLLOW) < 0 ||
      fchmodat(kRoot, file.c_str(), 0444, 0) < 0 || fchownat(kRoot, kKernelFacts, 0, 0, 0) < 0 ||
      fchmodat(kRoot, kKernelFacts, 0755, 0) < 0) {
    return SysError("give a folder of a checkpoint away", kKernelFacts);
  }
  return {};
}

// What the other process has said, or why there is nothing.
Result<Report> Receive(const ChildProcess& process, int limit_ms) {
  pollfd ready{process.socket(), POLLIN, 0};
  const auto got = TEMP_FAILURE_RETRY(poll(&ready, 1, limit_ms));
  if (got < 0) return SysError("poll");
  if (got == 0) return MakeError(ErrorKind::kUnavailable, "the restore does not get on");
  Report report;
  SPORE_TRY(process.Receive(report));
  return report;
}

Result<int> MakeRuleset(NetworkPolicy network) {
  int ruleset = -1;
  SPORE_TRY(
      Try(MakeLandlockRuleset(kWritablePlaces, std::size(kWritablePlaces), network, &ruleset)));
  return ruleset;
}

// The rest of the process that restores. Every error is told; the workplace goes whatever comes.
Result<> Work(const RestoreWorker::Order& order, int socket) {
  SPORE_TRY(JoinSession(order.init_pidfd));
  // Before the whole /proc is there: what is made here tells files by what they are.
  SPORE_ASSIGN(const int made, MakeRuleset(order.criu.options.network()));
  const UniqueFd ruleset(made);
  SPORE_ASSIGN(Workplace place, Workplace::Open({.files = wire::kCheckpointMountFd,
                                                 .criu = wire::kCheckpointCriuFd,
                                                 .whole_proc = true}));
  SPORE_TRY(FaultPoint("restore-workplace"));
  if (ruleset) SPORE_TRY(AllowLastPid(ruleset.get()));
  SPORE_TRY(SetLastPid(getpid()));
  SPORE_TRY(FindKernelFacts(order.criu, order.owner));
  SPORE_TRY(RunCriu([&](int log) { return BecomeConfinedCriu(order.criu, ruleset.get(), log); },
                    order.criu.options.limit));
  SPORE_TRY(FaultPoint("restore-criu"));
  SPORE_TRY(SendStruct(socket, ReportOf({}, place.mounts())));
  if (AwaitWord(socket) != kFinish)
    return MakeError(ErrorKind::kUnavailable, "nobody waits for the restore");
  return place.Remove();
}

// Ends with its parent, which goes on making its children there.
Result<pid_t> CloneInto(int init_pidfd, pid_t number) {
  const UniqueFd parent(static_cast<int>(syscall(SYS_pidfd_open, getpid(), 0)));
  if (!parent) return SysError("pidfd_open");
  if (setns(init_pidfd, CLONE_NEWPID) < 0) return SysError("setns to a sandbox's pid namespace");
  const pid_t pid = CloneWithNumber(number);
  if (pid < 0) return SysError("clone into a sandbox's pid namespace");
  if (pid > 0) return pid;
  pollfd ended{parent.get(), POLLIN, 0};
  if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || poll(&ended, 1, 0) != 0) _exit(1);
  return 0;
}

}  // namespace

Result<RestoreWorker> RestoreWorker::Start(const Order& order) {
  const CheckpointOptions& options = order.criu.options;
  SPORE_ASSIGN(ChildProcess process,
               ChildProcess::Start(
                   "a process that restores",
                   [&] { return CloneInto(order.init_pidfd, options.last_number + 1); },
                   [&](int socket) {
                     const Result<> done = Work(order, socket);
                     return SendStruct(socket, ReportOf(done, {})) ? 0 : 1;
                   }));
  return RestoreWorker(std::move(process), options.limit);
}

// It removes the workplace when it sees that nobody waits for it.
RestoreWorker::~RestoreWorker() {
  process_.CloseChannel();
  (void)process_.WaitFor(kEndLimitNs);
}

Result<> RestoreWorker::AwaitCriu() {
  SPORE_ASSIGN(const Report report,
               Receive(process_, static_cast<int>(limit_.count()) + kBesideCriuMs));
  forbidden_.assign(report.mount, report.mount + std::min<size_t>(report.mounts, kMostMounts));
  return {};
}

Result<> RestoreWorker::Finish() {
  if (!process_.Say(kFinish)) return process_.HasEnded();
  SPORE_TRY(Receive(process_, kBesideCriuMs));
  SPORE_TRY(process_.Wait());
  return {};
}

}  // namespace spore
