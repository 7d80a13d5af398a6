// Where a zygote stops to be dumped, and goes on when it has been restored.
#pragma once

#include "sandbox/sys/result.h"

namespace spore {

// Returns at once in a zygote that runs under the base filter, as all do that are not to be dumped.
// In one that has none yet: lets go of its channel and stderr, stops the process, and returns in
// the restored one, where CRIU has placed new ones, with all of its threads under that filter.
// Everything is loaded by now, nothing is frozen, and no tenant has been near.
Result<> StopForCheckpoint();

}  // namespace spore
