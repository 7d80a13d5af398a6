// Seccomp filters, compiled ahead of time with libseccomp and loaded with one system call.
//
// A sandbox runs under two programs. The kernel takes the strictest answer of all loaded filters:
//   base    an allow-list, loaded by the zygote before any third-party library is imported and
//           inherited by every fork; outside it, calls known to be dangerous fail with EPERM and
//           all others with ENOSYS (call_groups.h). It still allows what setting up a child needs.
//   final   short, loaded last by the child itself: refuses what only set-up needed (clone3,
//           setns, unshare, mount calls, identity calls, seccomp, landlock, ...), namespace
//           flags of clone, and argument-filtered calls.
// Calls through a foreign ABI (int 0x80, x32) end the process under every program.
// Together they are an allow-list smaller than Docker's default. The short second filter exists
// because loading a long one in each child costs 84 to 336 us (docs/decisions).
#pragma once

#include <linux/filter.h>

#include <string>
#include <vector>

#include "sandbox/sys/result.h"

namespace spore {

struct SeccompProgram {
  std::vector<sock_filter> instructions;
};

enum class NetworkPolicy {
  kNone,  // socket() only for AF_UNIX; its own empty network namespace besides
};

Result<SeccompProgram> CompileBaseProgram();
Result<SeccompProgram> CompileFinalProgram(NetworkPolicy network);
// For the small init of a sandbox: wait, exit, signal return, and no more.
Result<SeccompProgram> CompileInitProgram();

// Names of the calls that tenant code may make (base minus final), sorted; for `spored --check`,
// documentation and the test that counts them against Docker's.
std::vector<std::string> AllowedCallNames(NetworkPolicy network);

// Loads it into the calling thread (no_new_privs must be set, or CAP_SYS_ADMIN held). Allocates
// nothing; async-signal-safe. Returns 0 or -errno.
int LoadSeccompProgram(const SeccompProgram& program) noexcept;

}  // namespace spore
