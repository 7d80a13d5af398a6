// Processes of ours in the pid namespace of a session.
#pragma once

#include <sys/types.h>

#include "sandbox/sys/result.h"
#include "sandbox/sys/unique_fd.h"

namespace spore {

// fork(2), but for that: 0 in the child, which ends when the caller does, and is in the caller's
// other namespaces still. `session`: the pidfd of a process in it.
Result<pid_t> CloneInside(int session, UniqueFd* pidfd);

// The caller goes into the session's other namespaces, but not into its user namespace.
Result<> JoinSession(int session);

}  // namespace spore
