// What a process may not have to be copied: read once, at the freeze.
#pragma once

#include "sandbox/sys/result.h"

namespace spore {

// Memory that its children would share with it and one another, or lack (MADV_DONTFORK). Memory
// that they find empty (MADV_WIPEONFORK) is as its owner wants it.
Result<> CheckMappings();
// Children of its own, which its copies would wait for in vain.
Result<> CheckChildren();

}  // namespace spore
