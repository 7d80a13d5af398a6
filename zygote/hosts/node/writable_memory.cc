#include "zygote/hosts/node/writable_memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <memory>
#include <vector>

#include "sandbox/sys/unique_fd.h"

namespace spore {
namespace {

constexpr size_t kChunkWords = 1 << 17;
constexpr size_t kChunkBytes = kChunkWords * sizeof(uint64_t);

struct FileCloser {
  void operator()(FILE* file) const { fclose(file); }
};
struct Unmapper {
  void operator()(uint64_t* words) const { munmap(words, kChunkBytes); }
};

struct Range {
  uintptr_t begin = 0, end = 0;
};

Result<std::vector<Range>> WritableRanges(bool only_heap) {
  std::unique_ptr<FILE, FileCloser> maps(fopen("/proc/self/maps", "re"));
  if (!maps) return SysError("open", "/proc/self/maps");
  const auto here = reinterpret_cast<uintptr_t>(__builtin_frame_address(0));
  std::vector<Range> ranges;
  char line[512];
  while (fgets(line, sizeof line, maps.get()) != nullptr) {
    Range range;
    char access[5] = {};
    int path = 0;
    if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR " %4s %*s %*s %*s %n", &range.begin, &range.end,
               access, &path) != 3) {
      continue;
    }
    if (strncmp(access, "rw", 2) != 0 || access[3] != 'p') continue;
    if (range.begin <= here && here < range.end) continue;
    if (only_heap && strncmp(line + path, "[heap]", 6) != 0) continue;
    ranges.push_back(range);
  }
  return ranges;
}

}  // namespace

Result<> VisitWritableMemory(bool only_heap, const VisitWords& visit) {
  SPORE_ASSIGN(const std::vector<Range> ranges, WritableRanges(only_heap));
  UniqueFd memory(open("/proc/self/mem", O_RDONLY | O_CLOEXEC));
  if (!memory) return SysError("open", "/proc/self/mem");
  // Shared, so that the copy is not among what is looked through.
  void* const mapped =
      mmap(nullptr, kChunkBytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) return SysError("mmap");
  const std::unique_ptr<uint64_t, Unmapper> chunk(static_cast<uint64_t*>(mapped));
  for (const Range& range : ranges) {
    for (uintptr_t at = range.begin; at < range.end;) {
      const size_t bytes = std::min(kChunkBytes, range.end - at);
      const ssize_t got = pread(memory.get(), chunk.get(), bytes, static_cast<off_t>(at));
      if (got <= 0) break;  // gone meanwhile
      const size_t words = static_cast<size_t>(got) / sizeof(uint64_t);
      visit({chunk.get(), words}, reinterpret_cast<uint64_t*>(at));
      if (words <= kChunkOverlap || at + words * sizeof(uint64_t) >= range.end) break;
      at += (words - kChunkOverlap) * sizeof(uint64_t);
    }
  }
  return {};
}

}  // namespace spore
