#include "zygote/checkpoint/restored_processes.h"

#include <signal.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <sstream>
#include <string>
#include <utility>

#include "sandbox/sys/step_log.h"
#include "zygote/branch/source_process.h"
#include "zygote/branch/thread_state.h"
#include "zygote/checkpoint/process_facts.h"

namespace spore {
namespace {

constexpr long kOptions = PTRACE_O_EXITKILL | PTRACE_O_SUSPEND_SECCOMP;
constexpr uint64_t kLimitNs = 3'000'000'000;
constexpr useconds_t kLookUs = 100;

// In ticks since the host was started; 0: there is no such process.
uint64_t BeganAt(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string line;
  std::getline(file, line);
  constexpr int kFieldsBetween = 19;  // of proc(5): after the name, before starttime
  const size_t end = line.rfind(')');
  std::istringstream rest(end == line.npos ? "" : line.substr(end + 1));
  std::string skipped;
  for (int i = 0; i < kFieldsBetween; ++i) rest >> skipped;
  uint64_t ticks = 0;
  rest >> ticks;
  return ticks;
}

// What has ended but is not reaped cannot be held, and does nothing. The first one may have left
// the others.
std::vector<pid_t> LivingThreadsOf(pid_t pid) {
  auto tids = ThreadsOf(pid);
  if (!tids) return {};
  std::erase_if(*tids, HasEnded);
  return std::move(*tids);
}

Result<> AwaitStop(Tracee& thread, uint64_t until) {
  for (;;) {
    siginfo_t info{};
    const auto tid = static_cast<id_t>(thread.tid());
    const int rc = waitid(P_PID, tid, &info, WSTOPPED | WEXITED | WNOWAIT | WNOHANG | __WALL);
    if (rc < 0 || info.si_pid != 0) return thread.AwaitStop();
    if (StepLog::Now() > until)
      return MakeError(ErrorKind::kPrecondition, "a restored process does not stop");
    usleep(kLookUs);
  }
}

}  // namespace

Result<RestoredProcesses> RestoredProcesses::Begin(const std::vector<std::string>& cgroups) {
  SPORE_ASSIGN(SessionCgroup cgroup, SessionCgroup::Open(cgroups));
  SPORE_ASSIGN(const std::vector<pid_t> list, cgroup.Processes());
  RestoredProcesses processes(std::move(cgroup));
  for (const pid_t pid : list) processes.others_.emplace(pid, BeganAt(pid));
  return processes;
}

RestoredProcesses::RestoredProcesses(RestoredProcesses&& other) noexcept
    : cgroup_(std::exchange(other.cgroup_, std::nullopt)),
      others_(std::move(other.others_)),
      held_(std::move(other.held_)),
      let_go_(std::move(other.let_go_)) {}

RestoredProcesses::~RestoredProcesses() {
  if (cgroup_) KillAll();
}

Result<std::vector<pid_t>> RestoredProcesses::List() const {
  SPORE_ASSIGN(std::vector<pid_t> list, cgroup_->Processes());
  std::erase_if(list, [this](pid_t pid) { return others_.contains({pid, BeganAt(pid)}); });
  return list;
}

Result<> RestoredProcesses::SeizeAll() {
  SPORE_ASSIGN(const std::vector<pid_t> list, List());
  for (const pid_t pid : list) {
    RestoredProcess process{pid, {}};
    for (const pid_t tid : LivingThreadsOf(pid)) {
      SPORE_ASSIGN(Tracee thread, Tracee::Seize(tid, kOptions));
      process.threads.push_back(std::move(thread));
    }
    if (!process.threads.empty()) held_.push_back(std::move(process));
  }
  return {};
}

Result<> RestoredProcesses::Hold() {
  SPORE_TRY(cgroup_->Freeze());
  const Result<> seized = SeizeAll();
  SPORE_TRY(cgroup_->Thaw());
  SPORE_TRY(seized);
  const uint64_t until = StepLog::Now() + kLimitNs;
  size_t count = 0;
  for (RestoredProcess& process : held_) {
    for (Tracee& thread : process.threads) SPORE_TRY(AwaitStop(thread, until));
    count += process.threads.size();
  }
  // Nobody is there who could have made more; this says so.
  SPORE_ASSIGN(const std::vector<pid_t> list, List());
  for (const pid_t pid : list) count -= LivingThreadsOf(pid).size();
  if (count != 0) return MakeError(ErrorKind::kInternal, "a restored thread is not held");
  return {};
}

Result<> RestoredProcesses::LimitFiles(uint64_t open_files) const {
  for (const RestoredProcess& process : held_) {
    rlimit limit{};
    if (prlimit(process.pid, RLIMIT_NOFILE, nullptr, &limit) < 0)
      return SysError("read a restored process's limits");
    if (limit.rlim_max <= open_files) continue;
    limit = {std::min<rlim_t>(limit.rlim_cur, open_files), open_files};
    if (prlimit(process.pid, RLIMIT_NOFILE, &limit, nullptr) < 0)
      return SysError("set a restored process's limits");
  }
  return {};
}

Result<> RestoredProcesses::LetGo() {
  for (RestoredProcess& process : held_) {
    let_go_.push_back({process.pid, NumberInside(process.pid)});
    for (Tracee& thread : process.threads) SPORE_TRY(thread.LetGo());
  }
  held_.clear();
  return {};
}

Result<> RestoredProcesses::Continue(const std::vector<pid_t>& stopped) {
  for (const auto& [pid, number] : let_go_) {
    if (std::find(stopped.begin(), stopped.end(), number) != stopped.end()) continue;
    // One that goes on may have ended another, or itself.
    if (kill(pid, SIGCONT) < 0 && errno != ESRCH) return SysError("continue a restored process");
  }
  cgroup_.reset();
  return {};
}

void RestoredProcesses::KillAll() {
  // Frozen, nobody is born meanwhile.
  (void)cgroup_->Freeze();
  if (const auto list = List())
    for (const pid_t pid : *list) kill(pid, SIGKILL);
  (void)cgroup_->Thaw();
  // The last first: the end of a process is told when that of its other threads has been.
  for (RestoredProcess& process : held_)
    while (!process.threads.empty()) process.threads.pop_back();
  held_.clear();
  const uint64_t until = StepLog::Now() + kLimitNs;
  for (auto list = List(); list && StepLog::Now() < until; list = List()) {
    if (std::all_of(list->begin(), list->end(),
                    [](pid_t pid) { return LivingThreadsOf(pid).empty(); })) {
      return;
    }
    for (const pid_t pid : *list) kill(pid, SIGKILL);
    usleep(kLookUs);
  }
}

}  // namespace spore
