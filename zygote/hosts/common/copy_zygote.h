// A zygote that is copied from a zygote: the copy imports more, and its own copies have that.
#pragma once

#include "sandbox/sys/fd_message.h"
#include "sandbox/sys/result.h"
#include "zygote/hosts/common/zygote_loop.h"
#include "zygote/sfork/sfork.h"

namespace spore {

// Copies the frozen caller into no sandbox: a child of the supervisor, with the caller's user, few
// capabilities, filter, root, cgroup and pid namespace: so the caller must not have been forked
// into a sandbox before, from whose pid namespace there is no way back (setns(2) wants a capability
// in the user namespace that owns one, and the supervisor's is the host's). `fds` is the one
// descriptor that came with the order, the copy's control socket. 0 in the copy, which has all of
// its threads and kZygoteFd for itself.
Result<pid_t> CopyZygote(const FrozenProcess& process, ReceivedFds& fds, const RuntimeHooks& hooks,
                         UniqueFd* pidfd);

}  // namespace spore
