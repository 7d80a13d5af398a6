// The socket on which CRIU and what it puts into a session's processes talk.
//
// Such a process may connect only to abstract sockets of its own Landlock domain (landlock(7),
// LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET). Whose domain a socket is in is decided where it is made: so
// the session makes it.
#pragma once

#include <sys/types.h>

#include "sandbox/sys/result.h"
#include "sandbox/sys/unique_fd.h"

namespace spore {

// By calls of a thread that this process holds (held_session.h) and that stays held. It is a
// process's first; `pid` as the caller knows it.
Result<UniqueFd> MakeTransportSocket(pid_t pid);

}  // namespace spore
