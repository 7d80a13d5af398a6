// Dumps a zygote that has loaded everything and serves nobody yet, and brings it back, by CRIU.
//
// CRIU runs here, inside the image: as root of its user namespace, on its processes, files and
// network namespace, in its "unprivileged" mode. It has no privilege on the host, and what it reads
// are files that spored has verified. docs/decisions/0011-checkpoints-with-criu.md says more.
#pragma once

#include <sys/types.h>

#include "sandbox/policy/seccomp_program.h"
#include "sandbox/sys/result.h"
#include "zygote/supervisor/options.h"

namespace spore {

// Waits for spored's order, starts a zygote, has it dumped when it has stopped itself
// (zygote/hosts/common/checkpoint_stop.h), and tells spored.
Result<> DumpZygote(const SupervisorOptions& options);

// Waits for spored's order and restores the zygote; or starts it in the ordinary way, when there is
// nothing to restore or it fails. Tells spored which. Returns the zygote's pid.
Result<pid_t> RestoreZygote(const SupervisorOptions& options, const SeccompProgram& base);

}  // namespace spore
