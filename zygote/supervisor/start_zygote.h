// From the supervisor to a running zygote: confine, then exec the image's interpreter.
#pragma once

#include <linux/capability.h>
#include <sys/types.h>

#include <cstdint>

#include "sandbox/policy/seccomp_program.h"
#include "sandbox/sys/result.h"
#include "zygote/supervisor/options.h"

namespace spore {

constexpr uint64_t CapabilityBit(int capability) {
  return 1ull << capability;
}
// clone and setns into namespaces, mounts of a child; its identity; its bounding set; its root.
constexpr uint64_t kZygoteCapabilities = CapabilityBit(CAP_SYS_ADMIN) | CapabilityBit(CAP_SETUID) |
                                         CapabilityBit(CAP_SETGID) | CapabilityBit(CAP_SETPCAP) |
                                         CapabilityBit(CAP_SYS_CHROOT);

// Of a zygote that is to be dumped, and so of one that was restored; its threads' follow.
constexpr pid_t kCheckpointPid = 1000;

// Clones the zygote and executes the runtime's host in it, with three standard streams and the
// zygote socket as descriptor 3. It keeps the few capabilities that setting up a child needs, in
// the image's user namespace only, and runs under the base filter from its first instruction.
// Without a `base` it is one to be dumped: pid kCheckpointPid, a session of its own, no filter
// yet. Returns its pid; an exec that fails is told by its exit status and a line on stderr.
Result<pid_t> StartZygote(const SupervisorOptions& options, const SeccompProgram* base);

}  // namespace spore
