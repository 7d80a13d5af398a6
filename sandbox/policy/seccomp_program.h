// Seccomp filters, compiled ahead of time with libseccomp and loaded with one system call.
//
// A sandbox runs under two programs. The kernel takes the strictest answer of all loaded filters:
//   base    an allow-list, loaded by the zygote before any third-party library is imported and
//           inherited by every fork; outside it, calls known to be dangerous fail with EPERM and
//           all others with ENOSYS (call_groups.h). It still allows what setting up a child needs.
//   final   short, loaded by the child itself before it waits for its tenant: refuses what only
//           set-up needed (clone3, setns, unshare, most mount calls, identity calls, ...),
//           namespace flags of clone, and argument-filtered calls.
//   last    refuses the few calls that set-up makes once the tenant is known (mount, move_mount,
//           capset, landlock_restrict_self, seccomp): loaded while that one waits.
// Calls through a foreign ABI (int 0x80, x32) end the process under every program.
// Together they are an allow-list smaller than Docker's default. The short second filter exists
// because loading a long one in each child costs 84 to 336 us, and the last one because the final
// one costs 70 us still (docs/decisions).
#pragma once

#include <linux/filter.h>

#include <string>
#include <vector>

#include "sandbox/policy/denied_calls.h"
#include "sandbox/policy/network_policy.h"
#include "sandbox/sys/result.h"

namespace spore {

struct SeccompProgram {
  std::vector<sock_filter> instructions;
};

Result<SeccompProgram> CompileBaseProgram();
Result<SeccompProgram> CompileFinalProgram(NetworkPolicy network);
// With what an image denies its tenants beside.
Result<SeccompProgram> CompileLastProgram(const DeniedCalls& denied = {});
// For the small init of a sandbox: wait, exit, signal return, and no more.
Result<SeccompProgram> CompileInitProgram();

// For CRIU, which brings a session back from the position of a tenant, and for what it restores: an
// allow-list of what tenants may call and a little more.
Result<SeccompProgram> CompileRestoreProgram(NetworkPolicy network);
// For a CRIU that has no images yet, and looks at the kernel.
Result<SeccompProgram> CompileRestoreProbeProgram();

// Names of the calls that tenant code may make (base minus final and last), sorted; for `spored
// --check`, documentation and the test that counts them against Docker's. They are the same under
// every network policy, which decides on families of sockets.
std::vector<std::string> AllowedCallNames();

// Loads it into the calling thread (no_new_privs must be set, or CAP_SYS_ADMIN held). Allocates
// nothing; async-signal-safe. Returns 0 or -errno.
int LoadSeccompProgram(const SeccompProgram& program) noexcept;
// Into all threads of the process (SECCOMP_FILTER_FLAG_TSYNC, seccomp(2)); -ESRCH when one has
// filters that the caller has not.
int LoadSeccompProgramEverywhere(const SeccompProgram& program) noexcept;

}  // namespace spore
