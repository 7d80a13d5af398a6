// The tables behind the seccomp programs: which system calls, and why.
//
// Names are libseccomp's. A name that an architecture lacks is skipped there.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace spore {

struct CallGroup {
  std::string_view reason;
  std::span<const std::string_view> names;
};

// What tenant code may call, whatever the arguments.
std::span<const CallGroup> TenantCalls();
// What only the set-up of a child calls: in the base program, refused with EPERM by the final one.
std::span<const CallGroup> SetupCalls();
// Those of them that the last steps make, when it is known for whom the child is.
std::span<const CallGroup> LastSetupCalls();
// Calls that both programs refuse with EPERM. What is in no table fails with ENOSYS: to a runtime
// that probes for a newer or optional call this reads "older kernel" and it takes another way,
// whereas EPERM says plainly that the call is known and not for tenants.
std::span<const CallGroup> ForbiddenCalls();

// What CRIU calls beside while it brings a session back, from the position of a tenant
// (zygote/checkpoint).
std::span<const CallGroup> RestoreCalls();
// And when it finds out what the kernel has, before it has read anything.
std::span<const CallGroup> RestoreProbeCalls();

// prctl(2) options. Others fail with ENOSYS.
std::span<const int> TenantPrctls();
std::span<const int> SetupPrctls();
std::span<const int> RestorePrctls();

// CLONE_NEW* flags that clone(2) can carry (CLONE_NEWTIME cannot: its bit is part of the exit
// signal; it exists for clone3 and unshare only).
inline constexpr uint64_t kCloneNamespaceFlags = 0x7e020000;

}  // namespace spore
