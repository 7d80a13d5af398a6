// Sandboxes made ahead of their use.
#pragma once

#include <span>

#include "sandbox/policy/seccomp_program.h"
#include "sandbox/sys/result.h"
#include "sandbox/sys/unique_fd.h"
#include "zygote/protocol.h"

namespace spore {

// A sandbox without a tenant: what SandboxMade carries.
struct MadeSandbox {
  pid_t init_pid = 0;
  UniqueFd
      fd[wire::kSandboxFds];  // by wire::SandboxFd; kLandlockRuleset and kListener may be invalid
  StepLog steps;
};

// Clones a small init into new namespaces and confines it. The init holds no descriptor and no
// privilege afterwards; it reaps the sandbox's orphans until it is killed from outside, which ends
// every process of the sandbox (pid_namespaces(7)).
//
// `fds` as wire::MakeSandbox says. `program` is the init's seccomp filter.
Result<MadeSandbox> MakeSandbox(const wire::MakeSandbox& request, std::span<const int> fds,
                                const SeccompProgram& program);

}  // namespace spore
