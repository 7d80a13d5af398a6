#include "zygote/checkpoint/take_back.h"

#include <signal.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>

#include "sandbox/sys/step_log.h"
#include "zygote/branch/source_process.h"
#include "zygote/branch/tracee.h"
#include "zygote/checkpoint/held_session.h"

namespace spore {
namespace {

constexpr uint64_t kEndLimitNs = 5'000'000'000;
constexpr useconds_t kLookUs = 200;

// By calls that CRIU makes as it would itself: only who holds a thread can let it go.
Result<> Detach(Tracee& criu, pid_t pid, const std::vector<pid_t>& held) {
  SPORE_ASSIGN(const uintptr_t instruction, FindSyscallInstruction(pid));
  SPORE_TRY(criu.Begin(instruction));
  for (const pid_t tid : held) {
    SPORE_ASSIGN(const int64_t let_go,
                 criu.Call(SYS_ptrace, PTRACE_DETACH, static_cast<uint64_t>(tid), 0, 0));
    // It has let it go by itself, or it has ended.
    if (let_go < 0 && let_go != -ESRCH)
      return SysErrorOf(static_cast<int>(-let_go), "take a thread back from CRIU");
  }
  return {};
}

}  // namespace

Result<> TakeBack(pid_t criu, const std::vector<pid_t>& held, const SessionCgroup& cgroup,
                  const SessionSnapshot& before, pid_t agent) {
  SPORE_ASSIGN(Tracee tracee, HeldSession::SeizeOne(criu));
  SPORE_ASSIGN(const std::vector<pid_t> threads, ThreadsOf(criu));
  if (threads.size() != 1) return MakeError(ErrorKind::kInternal, "CRIU has threads");
  SPORE_TRY(cgroup.Freeze());
  SPORE_ASSIGN(const SessionSnapshot now, SessionSnapshot::Take(cgroup, agent));
  SPORE_TRY(before.Compare(now));
  const Result<> detached = Detach(tracee, criu, held);
  // It does not go on.
  kill(criu, SIGKILL);
  (void)tracee.Keep();
  return detached;
}

Result<> CheckTakenBack(const std::vector<std::string>& cgroups, const SessionCgroup& cgroup,
                        const SessionSnapshot& before, pid_t agent) {
  SPORE_TRY(EndOthers(cgroups));
  // What a child of CRIU's held has been let go by its end.
  SPORE_TRY(cgroup.Freeze());
  if (Result<> nothing = CheckNothingInFlight(cgroup); !nothing) {
    nothing.error().hint.clear();
    return nothing;
  }
  SPORE_ASSIGN(const SessionSnapshot now, SessionSnapshot::Take(cgroup, agent));
  return before.Compare(now);
}

Result<> EndOthers(const std::vector<std::string>& cgroups) {
  const uint64_t until = StepLog::Now() + kEndLimitNs;
  for (bool found = true; found; usleep(kLookUs)) {
    found = false;
    for (const std::string& path : cgroups) {
      std::ifstream members(path + "/cgroup.procs");
      if (!members) return SysError("open", path + "/cgroup.procs");
      for (pid_t pid = 0; members >> pid;) {
        if (pid <= 0) continue;
        found = true;
        kill(pid, SIGKILL);
      }
    }
    if (StepLog::Now() > until)
      return MakeError(ErrorKind::kInternal, "a process of CRIU's does not end");
  }
  return {};
}

}  // namespace spore
