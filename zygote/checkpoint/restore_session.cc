#include "zygote/checkpoint/restore_session.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <tuple>
#include <utility>
#include <vector>

#include "sandbox/policy/denied_calls.h"
#include "sandbox/steps/step.h"
#include "sandbox/sys/fault_point.h"
#include "sandbox/sys/fd_message.h"
#include "sandbox/sys/step_log.h"
#include "zygote/branch/copy_files.h"
#include "zygote/branch/thread_state.h"
#include "zygote/branch/worker_process.h"
#include "zygote/checkpoint/check_restored.h"
#include "zygote/checkpoint/checkpoint_options.h"
#include "zygote/checkpoint/clone_inside.h"
#include "zygote/checkpoint/load_filters.h"
#include "zygote/checkpoint/restore_worker.h"
#include "zygote/checkpoint/restored_processes.h"
#include "zygote/checkpoint_protocol.h"

namespace spore {
namespace {

constexpr int kAboveFixedFds = 16;
constexpr unsigned kBesideCriuSeconds = 60;  // each wait has a limit of its own; this is for what
                                             // nobody has thought of

int OwnFilters() {
  const std::string count = StatusLine(getpid(), "Seccomp_filters");
  int number = 0;
  (void)std::from_chars(count.data(), count.data() + count.size(), number);
  return number;
}

// Those that every session runs under, in the order in which one gets them.
Result<std::vector<SeccompProgram>> SessionPrograms(const CheckpointOptions& options) {
  SPORE_ASSIGN(const DeniedCalls denied, DeniedCalls::Parse(options.denied));
  std::vector<SeccompProgram> programs(3);
  SPORE_ASSIGN(programs[0], CompileBaseProgram());
  SPORE_ASSIGN(programs[1], CompileFinalProgram(options.network()));
  SPORE_ASSIGN(programs[2], CompileLastProgram(denied));
  return programs;
}

Result<UniqueFd> OpenAbove(const std::string& path, int flags) {
  const UniqueFd file(open(path.c_str(), flags | O_CLOEXEC));
  if (!file) return SysError("open", path);
  UniqueFd above(fcntl(file.get(), F_DUPFD_CLOEXEC, kAboveFixedFds));
  if (!above) return SysError("duplicate a descriptor");
  return above;
}

Result<ConfinedCriu> PrepareCriu(const CheckpointOptions& options, pid_t init) {
  ConfinedCriu criu{
      options, OffsetsTo(options.monotonic_ns, options.boottime_ns), {}, {}, {}, {}, {}, {}};
  for (const std::string& path : options.cgroups) {
    // v1's `tasks` moves one thread, without a lock of the whole kernel.
    const std::string tasks = path + "/tasks";
    const bool is_v1 = access(tasks.c_str(), F_OK) == 0;
    SPORE_ASSIGN(UniqueFd procs, OpenAbove(is_v1 ? tasks : path + "/cgroup.procs", O_WRONLY));
    criu.cgroup_procs.push_back(std::move(procs));
  }
  SPORE_ASSIGN(criu.user_namespace, OpenAbove(fmt::format("/proc/{}/ns/user", init), O_RDONLY));
  SPORE_ASSIGN(criu.null, OpenAbove("/dev/null", O_RDWR));
  SPORE_ASSIGN(criu.program, CompileRestoreProgram(options.network()));
  SPORE_ASSIGN(criu.probe_program, CompileRestoreProbeProgram());
  return criu;
}

// A pipe that blocks nobody: what is written to it, and read from it.
Result<std::pair<UniqueFd, UniqueFd>> MakePipe() {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0) return SysError("make a pipe");
  return std::pair(UniqueFd(ends[1]), UniqueFd(ends[0]));
}

struct Restored {
  UniqueFd agent;    // its pidfd
  UniqueFd channel;  // the other end of what stands in place of its channel
};

class Restore {
 public:
  explicit Restore(CheckpointOptions options) : options_(std::move(options)) {}

  Result<Restored> Run() {
    uint64_t t = StepLog::Now();
    init_ = PidBehind(wire::kCheckpointProcessFd);
    if (init_ <= 0) return MakeError(ErrorKind::kUnavailable, "the sandbox has ended");
    SPORE_ASSIGN(const std::vector<SeccompProgram> programs, SessionPrograms(options_));
    SPORE_ASSIGN(ConfinedCriu criu, PrepareCriu(options_, init_));
    UniqueFd stopped;
    SPORE_ASSIGN(std::tie(criu.stopped, stopped), MakePipe());
    SPORE_ASSIGN(RestoredProcesses processes, RestoredProcesses::Begin(options_.cgroups));
    t = report_.steps.Add("prepare", t);
    SPORE_ASSIGN(const uid_t owner, Owner());
    SPORE_TRY(RestoreFiles(owner));
    SPORE_TRY(FaultPoint("restore-files"));
    t = report_.steps.Add("files", t);
    SPORE_ASSIGN(RestoreWorker worker,
                 RestoreWorker::Start({wire::kCheckpointProcessFd, owner, criu}));
    SPORE_TRY(worker.AwaitCriu());
    t = report_.steps.Add("criu", t);
    SPORE_TRY(processes.Hold());
    t = report_.steps.Add("hold", t);
    const int filters = OwnFilters() + 1;
    SPORE_TRY(CheckRestored(processes.held(),
                            {init_, options_.loopback, criu.clocks, worker.forbidden()}, filters));
    SPORE_TRY(processes.LimitFiles(options_.open_files));
    SPORE_TRY(LoadFilters(processes.held(), programs));
    SPORE_TRY(CheckFilters(processes.held(), filters + static_cast<int>(programs.size())));
    SPORE_TRY(FaultPoint("restore-checked"));
    SPORE_ASSIGN(Restored restored, FindAgent(processes.held()));
    report_.processes = static_cast<uint32_t>(processes.held().size());
    t = report_.steps.Add("check", t);
    SPORE_TRY(worker.Finish());
    SPORE_TRY(processes.LetGo());
    SPORE_TRY(processes.Continue(Stopped(stopped.get())));
    report_.steps.Add("continue", t);
    return restored;
  }

  wire::RestoreSessionDone& report() { return report_; }

 private:
  // Those that are to stay so. The agent never is: spored waits for it.
  std::vector<pid_t> Stopped(int pipe) const {
    std::vector<pid_t> numbers;
    for (pid_t number = 0; read(pipe, &number, sizeof number) == sizeof number;)
      if (number != options_.agent) numbers.push_back(number);
    return numbers;
  }

  // Of the tenant, as the host sees it.
  Result<uid_t> Owner() const {
    const std::string uids = StatusLine(init_, "Uid");
    uid_t owner = 0;
    if (std::from_chars(uids.data(), uids.data() + uids.size(), owner).ec != std::errc())
      return MakeError(ErrorKind::kUnavailable, "the sandbox has ended");
    return owner;
  }

  Result<> RestoreFiles(uid_t owner) const {
    FilesOrder order{.owner = owner, .cgroups = options_.cgroups};
    std::vector<UniqueFd> folders;
    for (const auto& [kept, place] : {std::pair(wire::kCheckpointTmp, kWritablePlaces[0]),
                                      {wire::kCheckpointShm, kWritablePlaces[1]}}) {
      constexpr int kFolder = O_RDONLY | O_DIRECTORY | O_NOFOLLOW;
      UniqueFd from(openat(wire::kCheckpointFolderFd, kept, kFolder | O_CLOEXEC));
      if (!from) return SysError("open a folder of a checkpoint", kept);
      SPORE_ASSIGN(UniqueFd to, OpenPlace(init_, place));
      order.folders.push_back({from.get(), to.get(), place});
      folders.push_back(std::move(from));
      folders.push_back(std::move(to));
    }
    return CopyFiles(order);
  }

  Result<Restored> FindAgent(const std::vector<RestoredProcess>& processes) const {
    for (const RestoredProcess& process : processes) {
      if (NumberInside(process.pid) != options_.agent) continue;
      Restored restored;
      restored.agent.Reset(static_cast<int>(syscall(SYS_pidfd_open, process.pid, 0)));
      if (!restored.agent) return SysError("pidfd_open");
      restored.channel.Reset(
          static_cast<int>(syscall(SYS_pidfd_getfd, restored.agent.get(), options_.descriptor, 0)));
      if (!restored.channel) return SysError("pidfd_getfd of the agent's other end");
      return restored;
    }
    return MakeError(ErrorKind::kPrecondition, "the checkpoint is damaged: it has no agent");
  }

  CheckpointOptions options_;
  pid_t init_ = 0;
  wire::RestoreSessionDone report_;
};

}  // namespace

int RestoreMain(int argc, char** argv) {
  auto options = ParseCheckpointOptions(argc, argv);
  if (auto begun = BeginWorker("spore-restore", wire::kCheckpointCriuFd); !begun)
    options = tl::unexpected(std::move(begun).error());
  if (!options) {
    fprintf(stderr, "spore-zygote: %s\n", options.error().Message().c_str());
    return 2;
  }
  using std::chrono::duration_cast, std::chrono::seconds;
  alarm(kBesideCriuSeconds + static_cast<unsigned>(duration_cast<seconds>(options->limit).count()));
  Restore restore(std::move(*options));
  const Result<Restored> restored = restore.Run();
  wire::RestoreSessionDone& report = restore.report();
  if (restored) {
    const int fds[] = {restored->agent.get(), restored->channel.get()};
    return SendStruct(wire::kCheckpointChannelFd, report, fds) ? 0 : 1;
  }
  Error error = restored.error();
  if (error.kind == ErrorKind::kNotFound)
    error = {ErrorKind::kUnavailable, 0, "a restored process has ended meanwhile", {}, {}};
  PutError(error, report);
  return SendStruct(wire::kCheckpointChannelFd, report) ? 0 : 1;
}

}  // namespace spore
