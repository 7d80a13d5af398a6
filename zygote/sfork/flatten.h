// Flat fork: the process's anonymous memory in a file, so that a copy of it does not have to copy
// page tables.
//
// fork(2) copies, of each mapping that has pages of its own, every page table entry, and counts a
// reference on each page: 23 ns a page, 6 ms for a gigabyte. Of a private mapping of a file that
// nobody has written to it copies nothing, since the kernel can find those pages again when they
// are touched. So what a zygote has loaded is written to a memfd, which is mapped back in its
// place, private: the same bytes at the same addresses, with no page table entry and, after this,
// hardly a write. docs/sfork.md has the whole.
#pragma once

#include <cstdint>
#include <string>

#include "sandbox/sys/result.h"
#include "zygote/sfork/flat_memory.h"

namespace spore {

struct FlattenOptions {
  // Less than this is left as it is. docs/decisions/0010 says where the default is from.
  uint64_t worthwhile_bytes = uint64_t{32} << 20;
};

struct FlatReport {
  uint64_t flat_bytes = 0;     // that were moved
  uint64_t unmoved_bytes = 0;  // anonymous memory still
  uint32_t mappings = 0;       // of the file
  std::string note;            // why something was not moved; empty when only small pieces were
};

// By the only thread that runs. In a copy of a process that was flat, what is so stays in its file,
// and only what has come since is moved, into another. Memory that cannot be moved stays as it is,
// and the report says why; an Error means that the process is not fit to be copied.
Result<FlatReport> FlattenMemory(const FlattenOptions& options);

}  // namespace spore
