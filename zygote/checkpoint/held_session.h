// Every thread of a session, held (ptrace(2)) by a process within its pid namespace.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <vector>

#include "sandbox/sys/result.h"
#include "zygote/branch/tracee.h"
#include "zygote/checkpoint/session_cgroup.h"

namespace spore {

// As they are called in the session.
struct HeldProcess {
  pid_t pid = 0;
  std::vector<pid_t> threads;  // the first first
};

class HeldSession {
 public:
  // Stops all that is in the cgroup and has a number in the caller's pid namespace, but its init.
  // The caller's /proc is of that namespace, and the session goes on as soon as the caller ends:
  // after an error it has to. kOverloaded: that may pass (vfork(2)). It gives up after `limit_ns`.
  //
  // When this has returned all stand in a stop that nobody has waited for (waitid(2) with WNOWAIT):
  // that is the next tracer's in this process, when it executes one. The cgroup is still frozen.
  static Result<HeldSession> Hold(const SessionCgroup& cgroup, uint64_t limit_ns);

  // From here on all of them end when this process does.
  Result<> TieToUs() const;
  // That each process is below this one. The error names one that is not.
  Result<> CheckDescent(pid_t ancestor) const;

  const std::vector<HeldProcess>& processes() const { return processes_; }
  pid_t last_number() const;  // the highest of a process or thread
  // One thread that belongs to no session, to make calls in it; it has stopped.
  static Result<Tracee> SeizeOne(pid_t tid);
  // To make calls in one of them: it waits for the stop and lets go when it is destroyed.
  static Result<Tracee> Take(pid_t tid);
  // Puts one that was taken back to where Hold has left it, with nobody having waited.
  static Result<> PutBack(Tracee&& tracee);
  // All of it goes on as before (when the cgroup is thawed): of those that stand as Hold left them.
  Result<> LetGo();

 private:
  HeldSession() = default;
  Result<bool> SeizeNew(const SessionCgroup& cgroup);
  Result<> AwaitStops(uint64_t until);
  Result<bool> Seize(pid_t pid, pid_t tid);
  bool Holds(pid_t pid, pid_t tid) const;
  void Forget(pid_t tid);

  std::vector<HeldProcess> processes_;
  std::vector<pid_t> running_;  // seized, and have not stopped yet
};

}  // namespace spore
