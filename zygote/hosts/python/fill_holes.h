// The free places in a zygote's heaps, taken so that no child allocates from them.
#pragma once

#include <cstddef>

namespace spore {

// An interpreter that has imported its libraries has free places all over its memory. A child that
// allocates there copies a page for each of them; one that finds none takes fresh memory, which is
// in one piece. So a zygote allocates what is free, for good: bytes that are its own already.
// Returns how many were taken, at most `most`. In the zygote, before it freezes, with the GIL.
size_t FillHoles(size_t most);

}  // namespace spore
