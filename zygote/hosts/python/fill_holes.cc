#include "zygote/hosts/python/fill_holes.h"

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <malloc.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>

namespace spore {
namespace {

// CPython's allocator of small objects has pools of one size each, of 16 KiB (4 before 3.10): this
// many neighbours in the order of their addresses are found in a fresh pool only, or nearly so.
constexpr size_t kSmallest = 16, kLargest = 512;
constexpr int kFreshRun = 15;

size_t FillPools(size_t size, size_t most) {
  size_t taken = 0;
  uintptr_t last = 0;
  for (int run = 0; run < kFreshRun && taken + size <= most; taken += size) {
    const auto at = reinterpret_cast<uintptr_t>(PyObject_Malloc(size));
    if (at == 0) break;
    run = at == last + size ? run + 1 : 0;
    last = at;
  }
  return taken;
}

// The C library's heap, below what it has not handed out yet.
size_t FillHeap(size_t most) {
  constexpr size_t kLargestBlock = 64 << 10, kSmallBlock = 1024;
  const uintptr_t top = reinterpret_cast<uintptr_t>(sbrk(0)) - mallinfo2().keepcost;
  size_t taken = 0;
  for (size_t size = kLargestBlock; size >= 24; size -= size > kSmallBlock ? size / 2 : 16) {
    while (taken + size <= most) {
      void* const at = malloc(size);
      if (at == nullptr) return taken;
      if (reinterpret_cast<uintptr_t>(at) >= top) {
        free(at);
        break;
      }
      taken += size;
    }
  }
  return taken;
}

}  // namespace

size_t FillHoles(size_t most) {
  size_t taken = 0;
  for (size_t size = kSmallest; size <= kLargest; size += 16)
    taken += FillPools(size, most - taken);
  return taken + FillHeap(most - taken);
}

}  // namespace spore
