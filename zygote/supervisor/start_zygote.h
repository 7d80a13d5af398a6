// From the supervisor to a running zygote: confine, then exec the image's interpreter.
#pragma once

#include <sys/types.h>

#include "sandbox/policy/seccomp_program.h"
#include "sandbox/sys/result.h"
#include "zygote/supervisor/options.h"

namespace spore {

// Clones the zygote and executes the runtime's host in it, with three standard streams and the
// zygote socket as descriptor 3. It keeps the few capabilities that setting up a child needs, in
// the image's user namespace only, and runs under the base filter from its first instruction.
// Returns its pid; an exec that fails is told by its exit status and a line on stderr.
Result<pid_t> StartZygote(const SupervisorOptions& options, const SeccompProgram& base);

}  // namespace spore
