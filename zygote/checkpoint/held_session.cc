#include "zygote/checkpoint/held_session.h"

#include <fmt/format.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <fstream>

#include "sandbox/sys/printable.h"
#include "sandbox/sys/step_log.h"
#include "zygote/branch/source_process.h"
#include "zygote/branch/thread_state.h"

namespace spore {
namespace {

// What CRIU would set, which may not: the filters of a session refuse what its parasite calls.
constexpr uintptr_t kOptions = PTRACE_O_SUSPEND_SECCOMP | PTRACE_O_TRACESYSGOOD;
constexpr int kMostRounds = 16;
constexpr uint64_t kStopLimitNs = 2'000'000'000;
constexpr uint64_t kVforkAfterNs = 20'000'000;
constexpr useconds_t kLookUs = 100;

long Trace(__ptrace_request request, pid_t tid, uintptr_t data) {
  return ptrace(request, tid, nullptr, reinterpret_cast<void*>(data));
}

enum class Stop { kNotYet, kStopped, kEnded };

// Without having waited for it, but for one that has ended.
Result<Stop> LookAtStop(pid_t tid) {
  siginfo_t info{};
  constexpr int kAny = WSTOPPED | WEXITED | WNOHANG | __WALL;
  if (TEMP_FAILURE_RETRY(waitid(P_PID, static_cast<id_t>(tid), &info, kAny | WNOWAIT)) < 0) {
    if (errno == ECHILD) return Stop::kEnded;
    return SysError("wait for a traced thread");
  }
  if (info.si_pid == 0) return Stop::kNotYet;
  if (info.si_code == CLD_TRAPPED || info.si_code == CLD_STOPPED) return Stop::kStopped;
  (void)waitid(P_PID, static_cast<id_t>(tid), &info, kAny);
  return Stop::kEnded;
}

Result<> AwaitStopOf(pid_t tid) {
  const uint64_t until = StepLog::Now() + kStopLimitNs;
  for (;;) {
    SPORE_ASSIGN(const Stop stop, LookAtStop(tid));
    if (stop == Stop::kStopped) return {};
    if (stop == Stop::kEnded) return MakeError(ErrorKind::kNotFound, "it has ended");
    if (StepLog::Now() > until) return MakeError(ErrorKind::kInternal, "a thread does not stop");
    usleep(kLookUs);
  }
}

// The state's letter in /proc/PID/stat; '\0': there is no such thread.
char StateOf(pid_t tid) {
  const std::string state = StatusLine(tid, "State");
  return state.empty() ? '\0' : state.front();
}

// Whether it sleeps until its child has executed a program or has ended: no signal wakes it.
bool WaitsForVfork(pid_t tid) {
  std::ifstream file(fmt::format("/proc/{}/syscall", tid));
  long number = -1;
  file >> number;
  const bool births = number == SYS_vfork || number == SYS_clone || number == SYS_clone3;
  return births && StateOf(tid) == 'D';
}

std::string NameOf(pid_t pid) {
  std::ifstream file(fmt::format("/proc/{}/comm", pid));
  std::string name;
  std::getline(file, name);
  return fmt::format("{} (process {})", Printable(name), pid);
}

}  // namespace

Result<HeldSession> HeldSession::Hold(const SessionCgroup& cgroup, uint64_t limit_ns) {
  const uint64_t until = StepLog::Now() + limit_ns;
  SPORE_TRY(cgroup.Freeze(std::min(limit_ns, SessionCgroup::kFreezeLimitNs)));
  HeldSession session;
  for (int round = 0; round < kMostRounds && StepLog::Now() < until; ++round) {
    SPORE_ASSIGN(const bool found, session.SeizeNew(cgroup));
    if (!found) return session;
    SPORE_TRY(session.AwaitStops(until));
  }
  return MakeError(ErrorKind::kOverloaded, "its processes cannot be held", "try again later");
}

bool HeldSession::Holds(pid_t pid, pid_t tid) const {
  for (const HeldProcess& process : processes_) {
    if (process.pid == pid)
      return std::find(process.threads.begin(), process.threads.end(), tid) !=
             process.threads.end();
  }
  return false;
}

Result<bool> HeldSession::SeizeNew(const SessionCgroup& cgroup) {
  SPORE_ASSIGN(const std::vector<pid_t> pids, cgroup.Processes());
  bool found = false;
  for (const pid_t pid : pids) {
    if (pid == 1) continue;  // the init, which is not the tenant's
    const auto threads = ThreadsOf(pid);
    if (!threads && threads.error().kind == ErrorKind::kNotFound) continue;
    SPORE_TRY(threads);
    for (const pid_t tid : *threads) {
      if (Holds(pid, tid)) continue;
      SPORE_ASSIGN(const bool seized, Seize(pid, tid));
      found = found || seized;
    }
  }
  return found;
}

// False: it has ended.
Result<bool> HeldSession::Seize(pid_t pid, pid_t tid) {
  if (Trace(PTRACE_SEIZE, tid, kOptions) < 0) {
    const int error = errno;
    const char state = StateOf(tid);
    if (state == '\0' || (tid != pid && (state == 'X' || state == 'Z'))) return false;
    if (state == 'Z' && ThreadsOf(pid).value_or(std::vector<pid_t>()).size() > 1)
      return MakeError(ErrorKind::kPrecondition,
                       "a program in it has ended its first thread and goes on: " + NameOf(pid));
    if (state == 'X' || state == 'Z') return false;
    return SysErrorOf(error, "ptrace PTRACE_SEIZE", NameOf(pid));
  }
  // A thread that waits frozen goes to the stop of a tracee from there.
  if (Trace(PTRACE_INTERRUPT, tid, 0) < 0 && errno != ESRCH)
    return SysError("ptrace PTRACE_INTERRUPT", NameOf(pid));
  const auto same = [&](const HeldProcess& process) { return process.pid == pid; };
  auto process = std::find_if(processes_.begin(), processes_.end(), same);
  if (process == processes_.end()) process = processes_.insert(process, {pid, {}});
  process->threads.push_back(tid);
  running_.push_back(tid);
  return true;
}

Result<> HeldSession::AwaitStops(uint64_t until) {
  const uint64_t started = StepLog::Now();
  for (;;) {
    for (const pid_t tid : std::vector<pid_t>(running_)) {
      SPORE_ASSIGN(const Stop stop, LookAtStop(tid));
      if (stop == Stop::kNotYet) continue;
      std::erase(running_, tid);
      if (stop == Stop::kEnded) Forget(tid);
    }
    if (running_.empty()) return {};
    const uint64_t now = StepLog::Now(), waited = now - started;
    const pid_t tid = running_.front();
    if (waited > kVforkAfterNs && WaitsForVfork(tid))
      return MakeError(ErrorKind::kOverloaded,
                       "a program in it is in the middle of vfork(2): " + NameOf(tid),
                       "try again later");
    if (now > until)
      return MakeError(ErrorKind::kOverloaded, "its processes cannot be held", "try again later");
    if (waited > kStopLimitNs)
      return MakeError(ErrorKind::kPrecondition, "a program in it does not stop: " + NameOf(tid));
    usleep(kLookUs);
  }
}

void HeldSession::Forget(pid_t tid) {
  for (HeldProcess& process : processes_) std::erase(process.threads, tid);
  std::erase_if(processes_, [](const HeldProcess& process) { return process.threads.empty(); });
}

Result<> HeldSession::TieToUs() const {
  for (const HeldProcess& process : processes_) {
    for (const pid_t tid : process.threads) {
      // One that was killed meanwhile is tied to nobody.
      if (Trace(PTRACE_SETOPTIONS, tid, kOptions | PTRACE_O_EXITKILL) < 0 && errno != ESRCH)
        return SysError("ptrace PTRACE_SETOPTIONS", NameOf(process.pid));
    }
  }
  return {};
}

Result<> HeldSession::CheckDescent(pid_t ancestor) const {
  for (const HeldProcess& process : processes_) {
    // None is its own ancestor, and none can change its parent now.
    pid_t at = process.pid;
    for (size_t steps = 0; at > 1 && at != ancestor && steps <= processes_.size(); ++steps)
      at = static_cast<pid_t>(strtol(StatusLine(at, "PPid").c_str(), nullptr, 10));
    if (at == ancestor) continue;
    return MakeError(ErrorKind::kPrecondition,
                     "a program in it was not started by its agent: " + NameOf(process.pid));
  }
  return {};
}

pid_t HeldSession::last_number() const {
  pid_t last = 0;
  for (const HeldProcess& process : processes_)
    for (const pid_t tid : process.threads) last = std::max(last, tid);
  return last;
}

Result<Tracee> HeldSession::Take(pid_t tid) {
  Tracee tracee = Tracee::Adopted(tid);
  SPORE_TRY(tracee.AwaitStop());
  return tracee;
}

Result<Tracee> HeldSession::SeizeOne(pid_t tid) {
  if (Trace(PTRACE_SEIZE, tid, kOptions) < 0) return SysError("ptrace PTRACE_SEIZE");
  if (Trace(PTRACE_INTERRUPT, tid, 0) < 0) return SysError("ptrace PTRACE_INTERRUPT");
  SPORE_TRY(AwaitStopOf(tid));
  return Take(tid);
}

Result<> HeldSession::PutBack(Tracee&& tracee) {
  const pid_t tid = tracee.Keep();
  // From one stop to the next: no instruction of its own lies between.
  if (Trace(PTRACE_INTERRUPT, tid, 0) < 0 || Trace(PTRACE_CONT, tid, 0) < 0)
    return SysError("ptrace PTRACE_CONT");
  return AwaitStopOf(tid);
}

Result<> HeldSession::LetGo() {
  Result<> result;
  for (const HeldProcess& process : processes_) {
    for (const pid_t tid : process.threads) {
      if (Trace(PTRACE_DETACH, tid, 0) < 0 && errno != ESRCH && result)
        result = SysError("ptrace PTRACE_DETACH", NameOf(process.pid));
    }
  }
  processes_.clear();
  return result;
}

}  // namespace spore
