// Looking for values in this process's own memory: the fields of Node and V8 that no interface
// gives access to, but that a forked process has to change. Used only in the zygote, once, with
// nothing else running.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

#include "sandbox/sys/result.h"

namespace spore {

struct MemoryRange {
  uint64_t* begin = nullptr;
  uint64_t* end = nullptr;
};

// Private, readable and writable mappings: all of them, or the one that malloc grows by brk(2).
// Stacks are left out: what is found there is nobody's field.
Result<std::vector<MemoryRange>> WritableMemory(bool only_heap);

}  // namespace spore
