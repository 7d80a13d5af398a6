// Looking for values in this process's own memory: the fields of Node and V8 that no interface
// gives access to, but that a forked process has to change. Used only in the zygote, once.
#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "sandbox/sys/result.h"

namespace spore {

// Words as they are in memory from `address` on.
using VisitWords = std::function<void(std::span<const uint64_t> words, uint64_t* address)>;

// How many words of a chunk are seen again at the beginning of the next one of the same mapping,
// for who looks at several at once.
constexpr size_t kChunkOverlap = 2;

// Private, readable and writable mappings in chunks: all of them, or only the one that malloc grows
// by brk(2). The caller's stack is left out: what is found there is nobody's field. Read through
// /proc/self/mem, since other threads may unmap what is being looked at.
Result<> VisitWritableMemory(bool only_heap, const VisitWords& visit);

}  // namespace spore
