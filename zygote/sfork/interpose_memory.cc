// Functions of libc for memory, with ours in place: for what is preloaded into a runtime or linked
// into a program whose memory is to be moved into a file (flatten.h), and for V8.
//
//   madvise   MADV_DONTFORK is ignored: it makes fork(2) cheaper for who executes another program
//             next, and V8 uses it for its code, which an sforked child needs. MADV_DONTNEED and
//             MADV_FREE give zeros in moved memory, as in any other.
//   mremap    what grows does not grow into the file.
//   realloc   likewise: glibc calls mremap inside itself, for blocks with a mapping of their own.
//
// What is called by raw system calls, and what glibc does inside itself, passes by here. glibc's
// own uses of MADV_DONTNEED (malloc_trim, arenas that shrink, stacks of ended threads) expect
// nothing of the content.
#include <dlfcn.h>
#include <malloc.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>

#include "zygote/sfork/flat_memory.h"

#define SPORE_EXPORT extern "C" __attribute__((visibility("default")))

namespace {

constexpr size_t kPage = 4096;
constinit spore::FlatTable flat;

bool IsFlat(const void* address, size_t length) {
  const auto begin = reinterpret_cast<uintptr_t>(address);
  return flat.count != 0 && flat.Overlaps(begin, begin + length);
}

using Realloc = void*(void*, size_t);
std::atomic<Realloc*> original_realloc = nullptr;

Realloc* OriginalRealloc() {
  Realloc* function = original_realloc.load(std::memory_order_relaxed);
  if (function != nullptr) return function;
  function = reinterpret_cast<Realloc*>(dlsym(RTLD_NEXT, "realloc"));
  original_realloc.store(function, std::memory_order_relaxed);
  return function;
}
// Before any handler of a signal could be the first to ask.
[[maybe_unused]] Realloc* const at_start = OriginalRealloc();

// A block of glibc's with a mapping of its own: the word before it has this bit, which no other
// block has. An allocator of another kind may say anything there; what follows is right for it too.
bool MayHaveOwnMapping(const void* block) {
  constexpr size_t kHeader = 2 * sizeof(size_t);
  constexpr size_t kIsMapped = 2;
  if (!IsFlat(static_cast<const char*>(block) - kHeader, kHeader)) return false;
  return (static_cast<const size_t*>(block)[-1] & kIsMapped) != 0;
}

}  // namespace

SPORE_EXPORT void SporeSforkUseFlatTable(const spore::FlatTable* table) {
  flat = *table;
}

SPORE_EXPORT int madvise(void* address, size_t length, int advice) noexcept {
  if (advice == MADV_DONTFORK) return 0;
  if ((advice == MADV_DONTNEED || advice == MADV_FREE) && IsFlat(address, length))
    return spore::Discard(flat, reinterpret_cast<uintptr_t>(address), length, advice);
  return static_cast<int>(syscall(SYS_madvise, address, length, advice));
}

SPORE_EXPORT void* mremap(void* address, size_t length, size_t new_length, int flags,
                          ...) noexcept {
  void* new_address = nullptr;
  if ((flags & MREMAP_FIXED) != 0) {
    va_list more;
    va_start(more, flags);
    new_address = va_arg(more, void*);
    va_end(more);
  }
  void* result = MAP_FAILED;
  const bool only_shrinks = new_length <= length && (flags & MREMAP_FIXED) == 0;
  if (!only_shrinks && length != 0 && IsFlat(address, length) &&
      spore::MoveFlat(flat, reinterpret_cast<uintptr_t>(address), length, new_length, flags,
                      new_address, &result)) {
    return result;
  }
  return reinterpret_cast<void*>(
      syscall(SYS_mremap, address, length, new_length, flags, new_address));
}

SPORE_EXPORT void* realloc(void* block, size_t size) noexcept {
  // A mapping is a page at least, and does not grow for less.
  if (flat.count == 0 || block == nullptr || size < kPage / 2 || !MayHaveOwnMapping(block))
    return OriginalRealloc()(block, size);
  const size_t usable = malloc_usable_size(block);
  if (size <= usable) return OriginalRealloc()(block, size);
  void* const larger = malloc(size);
  if (larger == nullptr) return nullptr;
  memcpy(larger, block, usable);
  free(block);
  return larger;
}
