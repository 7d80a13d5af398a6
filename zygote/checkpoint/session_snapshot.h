// What a session is while nothing in it runs, as it is seen from the host: to tell afterwards that
// it is as it was.
//
// CRIU runs code of its own in each process, and changes what it has to. When it is done or has
// given up, nothing of that may be left: neither its code, nor anything that a tenant's process
// could have got by somebody who uses CRIU, which calls without a filter in such processes.
#pragma once

#include <sys/types.h>

#include <map>
#include <string>
#include <vector>

#include "sandbox/sys/result.h"
#include "zygote/checkpoint/session_cgroup.h"

namespace spore {

class SessionSnapshot {
 public:
  // Of those in the cgroup that are in the agent's pid namespace, but its init. Refused is what
  // could hide something: a pid namespace below that one, and a thread with a table of descriptors
  // of its own.
  static Result<SessionSnapshot> Take(const SessionCgroup& cgroup, pid_t agent);

  // That nothing is there now which was not there then, or is otherwise. What has ended may be
  // missing, but not the agent.
  Result<> Compare(const SessionSnapshot& now) const;
  // Of all threads, in the session's pid namespace.
  const std::vector<pid_t>& numbers() const { return numbers_; }
  const std::vector<pid_t>& processes() const { return processes_; }  // of them, the first ones

 private:
  Result<> AddProcess(pid_t pid);
  Result<> AddThread(pid_t tid);
  Result<> AddFirstPages(pid_t pid);
  void Add(pid_t pid, const char* what, std::string value);

  pid_t agent_ = 0;
  std::map<std::string, std::string> facts_;
  std::vector<pid_t> numbers_, processes_;
};

// That nothing is on its way over the session's sockets which nobody can look at when it comes
// back: descriptors.
Result<> CheckNothingInFlight(const SessionCgroup& cgroup);

}  // namespace spore
