// The mappings of another process, and which pages of them are its own (proc(5)).
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "sandbox/sys/result.h"
#include "sandbox/sys/unique_fd.h"

namespace spore {

struct Mapping {
  uintptr_t begin = 0, end = 0;
  int protection = 0;  // PROT_*
  bool shared = false;
  uint64_t offset = 0;
  dev_t device = 0;
  uint64_t inode = 0;  // 0: of no file
  std::string name;

  // Of the kernel's own pages, which every process has and nobody changes.
  bool IsKernels() const;
  bool IsAnonymous() const { return inode == 0; }
  // Whether two mappings have the same behind them wherever they overlap.
  bool SameBehind(const Mapping& other) const;
};

// A file of /proc, whole.
Result<std::string> ReadKernelFile(const std::string& path);

// Ascending.
Result<std::vector<Mapping>> ReadMappings(pid_t pid);

// Whether it has not begun to end: its memory goes before its pidfd tells so.
bool HasMemory(int pidfd, pid_t pid);

// "/usr/lib/x.so at 7f..", "anonymous memory at 7f..", for messages.
std::string Describe(const Mapping& mapping);

// What the kernel says of each page.
class PageMap {
 public:
  static Result<PageMap> Open(pid_t pid);
  // One number for each page of the range.
  Result<> Read(uintptr_t begin, uintptr_t end, std::vector<uint64_t>& pages) const;

  // The process's own: not in common with a file.
  static bool IsOwn(uint64_t page) {
    return (page & kSwapped) != 0 || ((page & kPresent) != 0 && (page & kOfFile) == 0);
  }
  static bool IsThere(uint64_t page) { return (page & (kPresent | kSwapped)) != 0; }
  // Whether it is one and the same page of memory.
  static bool Same(uint64_t a, uint64_t b) {
    return (a & kPresent) != 0 && (b & kPresent) != 0 && (a & kFrame) != 0 &&
           (a & kFrame) == (b & kFrame);
  }
  // What is there is the kernel's page of zeros, as after a read of memory that nobody wrote to.
  static bool IsZeros(uint64_t page, uint64_t zeros) {
    return zeros != 0 && (page & kOfFile) == 0 && Same(page, zeros);
  }
  // A number as such a page has; 0: not known.
  static uint64_t Zeros();

 private:
  // Documentation/admin-guide/mm/pagemap.rst
  static constexpr uint64_t kPresent = 1ull << 63, kSwapped = 1ull << 62, kOfFile = 1ull << 61;
  static constexpr uint64_t kFrame = (1ull << 55) - 1;
  explicit PageMap(UniqueFd file) : file_(std::move(file)) {}
  UniqueFd file_;
};

constexpr size_t kPageBytes = 4096;

}  // namespace spore
