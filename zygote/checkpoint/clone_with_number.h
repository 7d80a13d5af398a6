// A process with a number of one's choosing.
#pragma once

#include <sys/types.h>

namespace spore {

// As CloneProcess does (sandbox/sys/clone.h); `number`: in the pid namespace that the caller's
// children are in (clone3(2), set_tid). EEXIST: it is taken.
pid_t CloneWithNumber(pid_t number);

}  // namespace spore
