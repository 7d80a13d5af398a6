// Named places in the code at which a test makes Spore fail or die (after CRIU's
// fault-injection.h).
//
// Armed by `SPORE_FAULT=<point>:fail` or `SPORE_FAULT=<point>:kill`, read once by main() of a root
// program, whose environment only an administrator sets; or by ArmFaultPoint in a test. Unarmed, a
// point costs one load. At most one point is armed.
#pragma once

#include <string_view>

#include "sandbox/sys/result.h"

namespace spore {

// Arms what `spec` says; an empty spec disarms. kInvalid when it is not "<point>:fail|kill". Call
// it while no other thread runs.
Result<> ArmFaultPoint(std::string_view spec);

// At the armed point: an error with EIO (`fail`), or SIGKILL to the own process (`kill`).
Result<> FaultPoint(std::string_view name);

}  // namespace spore
