// CRIU as it brings a session back: in the position of a tenant of the sandbox.
#pragma once

#include <vector>

#include "sandbox/policy/seccomp_program.h"
#include "sandbox/sys/result.h"
#include "sandbox/sys/unique_fd.h"
#include "zygote/checkpoint/checkpoint_options.h"
#include "zygote/checkpoint/clock_offsets.h"

namespace spore {

// All that it needs of what cannot be reached from inside, made before.
struct ConfinedCriu {
  const CheckpointOptions& options;
  ClockOffsets clocks;                 // of what it restores
  std::vector<UniqueFd> cgroup_procs;  // of the session's cgroups
  UniqueFd user_namespace;             // the image's
  UniqueFd null;
  UniqueFd stopped;        // gets the numbers of those that were stopped, as the images have them
  SeccompProgram program;  // CompileRestoreProgram
  SeccompProgram probe_program;  // the same, with sockets to look at the kernel with
};

// In kCheckpointPlace: what CRIU has found out of the kernel, for itself.
constexpr const char* kKernelFacts = "kernel";
constexpr const char* kKernelFactsFile = "criu.kdat";

// The rights of a tenant, and CAP_CHECKPOINT_RESTORE of the image's user namespace; edits the
// images at kCheckpointPlace; then within `ruleset` (Landlock's; -1: there is none) and the filter
// it becomes CRIU, whose complaints go to `log`. The caller is a process of the sandbox's
// namespaces. Returns only on failure.
Result<> BecomeConfinedCriu(const ConfinedCriu& criu, int ruleset, int log);
// Has CRIU look at the kernel, which takes TCP sockets: without any images, and without Landlock,
// which would refuse them. It leaves its findings in kKernelFacts, a folder of the tenant's uid,
// and ends with an error, as it finds nothing to restore there.
Result<> BecomeCriuForKernel(const ConfinedCriu& criu, int log);

}  // namespace spore
