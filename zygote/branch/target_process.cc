#include "zygote/branch/target_process.h"

#include <fmt/format.h>
#include <sched.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>

#include "sandbox/sys/step_log.h"
#include "zygote/branch/copy_memory.h"
#include "zygote/branch/last_pid.h"

namespace spore {
namespace {

constexpr long kHeld = PTRACE_O_EXITKILL | PTRACE_O_SUSPEND_SECCOMP | PTRACE_O_TRACECLONE;
constexpr uint64_t kReadyLimitNs = 10'000'000'000;
constexpr useconds_t kLookUs = 50;
// As pthread_create(3) makes them; what the kernel shall know of one is told it afterwards.
constexpr uint64_t kThreadFlags =
    CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM;

// Whether it waits in read(2) on its channel.
bool Waits(pid_t pid) {
  std::ifstream file(fmt::format("/proc/{}/syscall", pid));
  std::string line;
  std::getline(file, line);
  return line.starts_with(fmt::format("{} 0x3 ", SYS_read));
}

Result<> AwaitReady(pid_t pid) {
  const uint64_t until = StepLog::Now() + kReadyLimitNs;
  while (!Waits(pid)) {
    if (StepLog::Now() > until || NumberInside(pid) == 0)
      return MakeError(ErrorKind::kUnavailable, "the interpreter of a branch does not get ready");
    usleep(kLookUs);
  }
  return {};
}

Result<> CheckStatus(pid_t tid, const std::string& uids) {
  const auto refuse = [](std::string_view what, const std::string& value) {
    return MakeError(ErrorKind::kInternal,
                     fmt::format("a branch is not confined: {} is {}", what, value));
  };
  const Status status(tid);
  for (const char* name : {"Uid", "Gid"}) {
    if (const std::string value = status.Line(name); value != uids) return refuse(name, value);
  }
  for (const char* name : {"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"}) {
    const std::string value = status.Line(name);
    if (value.empty() || value.find_first_not_of('0') != value.npos) return refuse(name, value);
  }
  for (const auto& [name, expected] : {std::pair("NoNewPrivs", "1"), {"Seccomp", "2"}}) {
    if (const std::string value = status.Line(name); value != expected) return refuse(name, value);
  }
  return {};
}

Result<> CopyLimits(pid_t from, pid_t to) {
  for (int resource = 0; resource < RLIM_NLIMITS; ++resource) {
    rlimit theirs{}, own{};
    const auto which = static_cast<__rlimit_resource>(resource);
    if (prlimit(from, which, nullptr, &theirs) < 0 || prlimit(to, which, nullptr, &own) < 0)
      return SysError("read a process's limits");
    const rlimit least{std::min(theirs.rlim_cur, own.rlim_max),
                       std::min(theirs.rlim_max, own.rlim_max)};
    if (least.rlim_cur == own.rlim_cur && least.rlim_max == own.rlim_max) continue;
    if (prlimit(to, which, &least, nullptr) < 0) return SysError("set a process's limits");
  }
  return {};
}

}  // namespace

Result<TargetProcess> TargetProcess::Hold(pid_t agent, int agent_pidfd, pid_t number,
                                          const BranchOptions::Target& options) {
  TargetProcess target;
  target.options_ = &options;
  target.agent_pidfd_ = agent_pidfd;
  target.pid_ = FindChild(agent, number);
  if (target.pid_ != 0)
    target.pidfd_.Reset(static_cast<int>(syscall(SYS_pidfd_open, target.pid_, 0)));
  if (!target.pidfd_ || FindChild(agent, number) != target.pid_)
    return MakeError(ErrorKind::kUnavailable, "the interpreter of a branch has ended");
  SPORE_TRY(AwaitReady(target.pid_));
  SPORE_TRY(target.Stop());
  return target;
}

// Its first thread; what its runtime has beside that ends.
Result<> TargetProcess::Stop() {
  SPORE_ASSIGN(const std::vector<pid_t> tids, ThreadsOf(pid_));
  std::vector<Tracee> held;
  for (const pid_t tid : tids) {
    SPORE_ASSIGN(Tracee thread, Tracee::Seize(tid, kHeld));
    SPORE_TRY(thread.AwaitStop());
    held.push_back(std::move(thread));
  }
  SPORE_ASSIGN(mappings_, ReadMappings(pid_));
  SPORE_ASSIGN(instruction_, FindSyscallInstruction(pid_, mappings_));
  for (Tracee& thread : held) {
    const pid_t tid = thread.tid();
    SPORE_TRY(thread.Begin(instruction_));
    if (tid == pid_) {
      threads_.push_back(std::move(thread));
      continue;
    }
    const auto ended = thread.Call(SYS_exit);
    if (ended || ended.error().kind != ErrorKind::kNotFound)
      return MakeError(ErrorKind::kInternal, "a thread of a fresh interpreter does not end");
  }
  SPORE_ASSIGN(RemoteMemory memory, RemoteMemory::Open(pid_));
  bench_.reset(new Workbench{pid_, pidfd_.get(), threads_.front(), std::move(memory)});
  return {};
}

TargetProcess::~TargetProcess() {
  if (pidfd_ && !threads_.empty())
    syscall(SYS_pidfd_send_signal, pidfd_.get(), SIGKILL, nullptr, 0);
}

Result<uint64_t> TargetProcess::TakeMemory(const SourceProcess& source) {
  SPORE_TRY(MakeScratch(*bench_, source.mappings(), mappings_));
  SPORE_TRY(CopyLayout(source.mappings(), std::move(mappings_), *bench_));
  SPORE_ASSIGN(PagesCopied copied,
               CopyPages(source.pid(), source.memory(), source.mappings(), *bench_));
  hands_.emplace(std::move(copied.hands));
  return copied.bytes;
}

Result<> TargetProcess::TakeState(const SourceProcess& source) {
  const ProcessState& state = source.state();
  SPORE_TRY(CopyLimits(source.pid(), pid_));
  SPORE_TRY(SetActions(state.actions, *bench_));
  SPORE_TRY(threads_.front().Make("umask", SYS_umask, state.umask));
  SPORE_ASSIGN(const uintptr_t path, bench_->PlaceText(state.working_directory));
  // A folder that has been removed is left for the one that the copy is in: /tmp.
  SPORE_ASSIGN(const int64_t changed, threads_.front().Call(SYS_chdir, path));
  (void)changed;
  return {};
}

Result<Tracee> TargetProcess::MakeThread(const ThreadState& state) {
  SPORE_TRY(ChooseNextPid(agent_pidfd_, state.number));
  Tracee& first = threads_.front();
  auto made = first.Make("make a thread", SYS_clone, kThreadFlags);
  if (!made) {
    made.error().kind = ErrorKind::kOverloaded;
    made.error().hint = "the session's limit pids";
    return tl::unexpected(std::move(made).error());
  }
  if (first.born() == 0) return MakeError(ErrorKind::kInternal, "a thread was not told of");
  Tracee thread = Tracee::Adopted(first.born());
  SPORE_TRY(thread.AwaitStop());
  if (NumberInside(thread.tid()) != state.number)
    return MakeError(ErrorKind::kUnavailable, "the number of a thread is taken in a branch");
  SPORE_TRY(thread.Begin(instruction_));
  return thread;
}

Result<> TargetProcess::TakeThreads(const SourceProcess& source) {
  const std::vector<ThreadState>& states = source.threads();
  std::vector<Tracee> others;
  for (size_t i = 1; i < states.size(); ++i) {
    SPORE_ASSIGN(Tracee thread, MakeThread(states[i]));
    others.push_back(std::move(thread));
  }
  for (size_t i = 1; i < states.size(); ++i)
    SPORE_TRY(SetUpThread(states[i], others[i - 1], *bench_, /*registered=*/false));
  // A fork keeps both of the thread that calls it, and the first thread of both is the zygote's.
  SPORE_TRY(SetUpThread(states.front(), threads_.front(), *bench_, /*registered=*/true));
  SPORE_TRY(DropScratch(*bench_));
  bench_.reset();
  for (size_t i = 1; i < states.size(); ++i)
    SPORE_TRY(others[i - 1].Become(RegistersForCopy(states[i].registers)));
  SPORE_TRY(threads_.front().Become(RegistersForCopy(states.front().registers)));
  for (Tracee& thread : others) threads_.push_back(std::move(thread));
  return {};
}

Result<> TargetProcess::CheckConfined(const SourceProcess& source) const {
  const std::string uids = fmt::format("{0}\t{0}\t{0}\t{0}", options_->uid);
  for (const Tracee& thread : threads_) SPORE_TRY(CheckStatus(thread.tid(), uids));
  if (StatusLine(source.pid(), "Uid") == uids)
    return MakeError(ErrorKind::kInternal, "a branch has the uid of its source");
  // Those of the steps. The source may have added to its own.
  if (StatusLine(pid_, "Seccomp_filters") != StatusLine(source.agent(), "Seccomp_filters"))
    return MakeError(ErrorKind::kInternal, "a branch has not the filters of every session");
  for (const char* name : {"pid", "mnt", "ipc", "uts", "net", "cgroup"}) {
    struct stat own {
    }, theirs{};
    if (stat(fmt::format("/proc/{}/ns/{}", pid_, name).c_str(), &own) < 0 ||
        stat(fmt::format("/proc/{}/ns/{}", source.pid(), name).c_str(), &theirs) < 0) {
      return SysError("stat a namespace", name);
    }
    if (own.st_ino == theirs.st_ino)
      return MakeError(ErrorKind::kInternal, fmt::format("a branch shares the {} namespace", name));
  }
  return {};
}

bool TargetProcess::Lives() const {
  return HasMemory(pidfd_.get(), pid_);
}

Result<> TargetProcess::LetGo() {
  for (Tracee& thread : threads_) SPORE_TRY(thread.LetGo());
  threads_.clear();
  return {};
}

}  // namespace spore
