// The seccomp filters of a session, loaded from outside into processes that were restored.
#pragma once

#include <vector>

#include "sandbox/policy/seccomp_program.h"
#include "sandbox/sys/result.h"
#include "zygote/checkpoint/restored_processes.h"

namespace spore {

// In this order into all threads of each process, by calls that its first thread is made to carry
// out: they are its own filters, as if it had loaded them. Its memory and registers are as before.
Result<> LoadFilters(std::vector<RestoredProcess>& processes,
                     const std::vector<SeccompProgram>& programs);

}  // namespace spore
