// A process whose memory has been moved into a memfd (flatten.h), and what three calls have to do
// there.
//
// A private mapping of a file is not anonymous memory in two respects: MADV_DONTNEED brings back
// what the file holds, where anonymous memory becomes zero, and a mapping that grows shows more of
// the file. Allocators rely on both. So the functions that stand in front of libc's
// (interpose_memory.cc) put anonymous memory back in place where these are called.
#pragma once

#include <cstddef>
#include <cstdint>

namespace spore {

struct FlatRange {
  uintptr_t begin = 0, end = 0;
};

// Where memory was moved, for good: parts of it may have been unmapped or replaced since. A copy of
// a process whose memory was moved may have more of it moved, into a file of its own.
struct FlatTable {
  struct File {
    uint64_t device = 0, inode = 0;
  };
  static constexpr size_t kMostFiles = 16;

  const FlatRange* ranges = nullptr;  // ascending, apart from each other
  size_t count = 0;
  File files[kMostFiles];  // the memfds
  size_t file_count = 0;

  bool Overlaps(uintptr_t begin, uintptr_t end) const;
  bool Has(uint64_t device, uint64_t inode) const;
};

// A mapping of such a memfd, or the part of it that was asked for.
struct FlatMapping {
  uintptr_t begin = 0, end = 0;
  int protection = 0;
};
enum class Look { kFound, kNone, kFailed };
// The first that overlaps [begin, end). kFailed: /proc cannot be read.
Look FindFlatMapping(const FlatTable& table, uintptr_t begin, uintptr_t end, FlatMapping* found);

// madvise(2) with MADV_DONTNEED or MADV_FREE of a range that may overlap the table: zeros
// everywhere. Result and errno as of madvise.
int Discard(const FlatTable& table, uintptr_t address, size_t length, int advice);

// mremap(2) of a range that overlaps the table, growing or moving it: the content is copied into
// anonymous memory. Result and errno as of mremap; false when the mapping is not of a memfd, and
// the kernel is to be asked.
bool MoveFlat(const FlatTable& table, uintptr_t address, size_t length, size_t new_length,
              int flags, void* new_address, void** result);

}  // namespace spore

// Of interpose_memory.cc. A process where that is neither linked nor preloaded has no such
// function.
extern "C" void SporeSforkUseFlatTable(const spore::FlatTable* table);
