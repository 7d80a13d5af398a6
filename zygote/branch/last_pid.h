// Which number the next process of a pid namespace has.
#pragma once

#include <sys/types.h>

#include "sandbox/sys/result.h"

namespace spore {

// The next process that is born in the namespace of the process behind `pidfd` has the number
// `next`, if nobody has it. For a moment a process of ours is in there.
Result<> ChooseNextPid(int pidfd, pid_t next);

}  // namespace spore
