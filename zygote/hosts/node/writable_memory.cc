#include "zygote/hosts/node/writable_memory.h"

#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <memory>

namespace spore {
namespace {

struct FileCloser {
  void operator()(FILE* file) const { fclose(file); }
};

}  // namespace

Result<std::vector<MemoryRange>> WritableMemory(bool only_heap) {
  std::unique_ptr<FILE, FileCloser> maps(fopen("/proc/self/maps", "re"));
  if (!maps) return SysError("open", "/proc/self/maps");
  const auto here = reinterpret_cast<uintptr_t>(__builtin_frame_address(0));
  std::vector<MemoryRange> ranges;
  char line[512];
  while (fgets(line, sizeof line, maps.get()) != nullptr) {
    uintptr_t begin = 0, end = 0;
    char access[5] = {};
    int path = 0;
    if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR " %4s %*s %*s %*s %n", &begin, &end, access, &path) !=
        3) {
      continue;
    }
    if (strncmp(access, "rw", 2) != 0 || access[3] != 'p') continue;
    if (begin <= here && here < end) continue;
    const bool heap = strncmp(line + path, "[heap]", 6) == 0;
    if (only_heap && !heap) continue;
    ranges.push_back({reinterpret_cast<uint64_t*>(begin), reinterpret_cast<uint64_t*>(end)});
  }
  return ranges;
}

}  // namespace spore
