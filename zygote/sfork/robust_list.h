// Mutexes that a thread holds by its id, in the copy of the thread.
#pragma once

#include <sys/types.h>

namespace spore {

// A robust mutex records its owner's id in the word that the kernel looks at when the owner dies,
// and beside it for glibc. `head` is the list that a thread registered with set_robust_list(2):
// whatever on it belongs to `from` belongs to `to` afterwards. Only before the thread runs.
void TakeOverRobustMutexes(void* head, pid_t from, pid_t to);

}  // namespace spore
