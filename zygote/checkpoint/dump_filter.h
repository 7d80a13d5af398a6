// What CRIU may call while it dumps a session: what a tenant may, and what looking at other
// processes takes. What has been done for it ahead (held_session.h) is answered, not done:
//
//   ptrace  SEIZE, INTERRUPT   told (dump_notifier.h): the first of each held thread is answered
//           SETOPTIONS         0: they are set, and it may not set one of them
//           SECCOMP_GET_FILTER ENOENT: none is dumped. They are Spore's, and need not come from
//           disk DETACH             told: what is let go must be frozen
//   socket  AF_UNIX, SOCK_SEQPACKET   told: one that the session has made is given
//   getsockopt  SO_PASSCRED, SO_PASSSEC   told: 0 of sockets that do not have them any more
//   exit_group                 told: what it still holds is taken from it before
#pragma once

#include "sandbox/policy/seccomp_program.h"
#include "sandbox/sys/result.h"
#include "sandbox/sys/unique_fd.h"

namespace spore {

Result<SeccompProgram> CompileDumpProgram();

// Loads it into the caller, which is to have no_new_privs; gives where its notifications come.
Result<UniqueFd> LoadDumpProgram(const SeccompProgram& program);

}  // namespace spore
