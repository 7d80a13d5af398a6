// The process's mappings as /proc shows them, read without allocating: into memory that is about to
// be moved nothing may be written.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <span>
#include <string_view>

namespace spore {

// Lines of a file of /proc. A longer one than the buffer is cut.
class ProcLines {
 public:
  ProcLines(int fd, std::span<char> buffer) : fd_(fd), buffer_(buffer) {}
  bool Next();  // false at the end, or when reading fails
  std::string_view line() const { return line_; }
  bool failed() const { return failed_; }

 private:
  bool Fill();

  int fd_;
  std::span<char> buffer_;
  size_t begin_ = 0, end_ = 0;  // of what has been read and not yet told
  std::string_view line_;
  bool failed_ = false;
};

// The first line of a mapping, in maps as in smaps.
struct MapLine {
  uintptr_t begin = 0, end = 0;
  int protection = 0;
  bool shared = false;
  uint64_t offset = 0;
  dev_t device = 0;
  uint64_t inode = 0;
  std::string_view name;

  bool Parse(std::string_view line);  // false: it is another kind of line
};

// Why memory is left as it is.
enum class Unmoved {
  kNot,         // it can be moved
  kSmall,       // in pieces that are not worth a mapping
  kStack,       // the caller's
  kLocked,      // mlock(2)
  kWiped,       // MADV_WIPEONFORK, or droppable
  kHuge,        // of huge pages that were asked for as such
  kKey,         // under a protection key
  kUnreadable,  // not readable now
  kOther,       // something that this file does not know
  kTooMany,     // more mappings than there is room for
  kFailed,      // the kernel refused
  kReasons,
};
const char* NameOf(Unmoved reason);

// A private, anonymous mapping.
struct Region {
  uintptr_t begin = 0, end = 0;
  int protection = 0;
  bool no_reserve = false, huge_pages = false, no_huge_pages = false, not_dumped = false;
  Unmoved obstacle = Unmoved::kNot;
  uint64_t bytes = 0;  // that it has in memory or in swap
};

// Those of the calling process that hold something, ascending. How many, or -1 and errno: E2BIG
// when there are more than `regions` holds.
ssize_t ReadRegions(std::span<Region> regions, std::span<char> buffer);

}  // namespace spore
