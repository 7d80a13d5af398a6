// Processes by their pidfds (pidfd_open(2)).
#pragma once

#include <sys/types.h>

#include <string>

#include "sandbox/sys/unique_fd.h"

namespace spore {

// The pid behind a pidfd in our own pid namespace (proc(5), fdinfo); 0 when it has ended.
pid_t PidOf(const UniqueFd& pidfd);

// In the innermost pid namespace that it is in; 0 when it has ended.
pid_t NumberInside(const UniqueFd& pidfd);

// A pidfd of the process that has this pid and is in a cgroup whose last part is `group`; none when
// there is no such process. The cgroup tells it from another one that was given the pid meanwhile.
UniqueFd OpenPidfd(pid_t pid, const std::string& group);

}  // namespace spore
