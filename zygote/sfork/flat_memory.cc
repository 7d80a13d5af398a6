#include "zygote/sfork/flat_memory.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "sandbox/sys/unique_fd.h"
#include "zygote/sfork/memory_map.h"

namespace spore {
namespace {

constexpr uintptr_t kPage = 4096;

// PROCMAP_QUERY of <linux/fs.h>, Linux 6.11, which older headers do not have.
struct MapQuery {
  uint64_t size = sizeof(MapQuery);
  uint64_t flags = 0, address = 0;
  uint64_t begin = 0, end = 0, mapping_flags = 0, page_size = 0, offset = 0, inode = 0;
  uint32_t device_major = 0, device_minor = 0;
  uint32_t name_size = 0, build_id_size = 0;
  uint64_t name = 0, build_id = 0;
};
constexpr unsigned long kMapQuery = _IOWR('f', 17, MapQuery);
constexpr uint64_t kReadable = 1, kWritable = 2, kExecutable = 4, kCoveringOrNext = 16, kFile = 32;

int ProtectionOf(uint64_t flags) {
  return ((flags & kReadable) != 0 ? PROT_READ : 0) | ((flags & kWritable) != 0 ? PROT_WRITE : 0) |
         ((flags & kExecutable) != 0 ? PROT_EXEC : 0);
}

// Sets `found` to what of a mapping lies in [begin, end); false when nothing does.
bool Cut(uintptr_t begin, uintptr_t end, FlatMapping* found) {
  found->begin = std::max(found->begin, begin);
  found->end = std::min(found->end, end);
  return found->begin < found->end;
}

Look Ask(int maps, const FlatTable& table, uintptr_t begin, uintptr_t end, FlatMapping* found) {
  for (uintptr_t at = begin; at < end;) {
    MapQuery query;
    query.flags = kCoveringOrNext | kFile;
    query.address = at;
    if (ioctl(maps, kMapQuery, &query) < 0) return errno == ENOENT ? Look::kNone : Look::kFailed;
    if (query.begin >= end) return Look::kNone;
    *found = {query.begin, query.end, ProtectionOf(query.mapping_flags)};
    if (table.Has(makedev(query.device_major, query.device_minor), query.inode)) {
      return Cut(begin, end, found) ? Look::kFound : Look::kNone;
    }
    at = query.end;
  }
  return Look::kNone;
}

Look ReadThrough(int maps, const FlatTable& table, uintptr_t begin, uintptr_t end,
                 FlatMapping* found) {
  char buffer[4096];
  ProcLines lines(maps, buffer);
  MapLine line;
  while (lines.Next()) {
    if (!line.Parse(lines.line()) || line.end <= begin) continue;
    if (line.begin >= end) return Look::kNone;
    if (!table.Has(line.device, line.inode)) continue;
    *found = {line.begin, line.end, line.protection};
    return Cut(begin, end, found) ? Look::kFound : Look::kNone;
  }
  return lines.failed() ? Look::kFailed : Look::kNone;
}

int Advise(uintptr_t begin, uintptr_t end, int advice) {
  return static_cast<int>(syscall(SYS_madvise, begin, end - begin, advice));
}

// Anonymous memory in the place of a mapping of the memfd.
int Replace(const FlatMapping& mapping) {
  void* const address = reinterpret_cast<void*>(mapping.begin);
  const size_t length = mapping.end - mapping.begin;
  if (mmap(address, length, mapping.protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) !=
      MAP_FAILED) {
    return 0;
  }
  // More mappings than a process may have: what is asked for can still be had.
  if (errno != ENOMEM || (mapping.protection & PROT_WRITE) == 0) return -1;
  memset(address, 0, length);
  return 0;
}

}  // namespace

bool FlatTable::Overlaps(uintptr_t begin, uintptr_t end) const {
  const FlatRange* const last = ranges + count;
  const FlatRange* const range = std::upper_bound(
      ranges, last, begin, [](uintptr_t at, const FlatRange& r) { return at < r.end; });
  return range != last && range->begin < end;
}

bool FlatTable::Has(uint64_t device, uint64_t inode) const {
  return std::any_of(files, files + file_count, [&](const File& file) {
    return file.inode == inode && file.device == device;
  });
}

Look FindFlatMapping(const FlatTable& table, uintptr_t begin, uintptr_t end, FlatMapping* found) {
  const UniqueFd maps(open("/proc/thread-self/maps", O_RDONLY | O_CLOEXEC));
  if (!maps) return Look::kFailed;
  const Look look = Ask(maps.get(), table, begin, end, found);
  return look == Look::kFailed ? ReadThrough(maps.get(), table, begin, end, found) : look;
}

int Discard(const FlatTable& table, uintptr_t address, size_t length, int advice) {
  if (address % kPage != 0) return Advise(address, address + length, advice);  // EINVAL
  const int saved = errno;
  const uintptr_t end = address + ((length + kPage - 1) & ~(kPage - 1));
  FlatMapping mapping;
  Look look = Look::kNone;
  for (uintptr_t at = address; at < end; at = mapping.end) {
    look = FindFlatMapping(table, at, end, &mapping);
    if (look == Look::kFailed) break;
    if (look == Look::kNone) mapping.begin = mapping.end = end;
    if (at < mapping.begin && Advise(at, mapping.begin, advice) < 0) return -1;
    if (look == Look::kFound && Replace(mapping) < 0) return -1;
  }
  errno = saved;
  if (look != Look::kFailed) return 0;
  // No descriptor to be had: madvise(2) may say so, and callers then do not expect zeros.
  errno = EAGAIN;
  return -1;
}

bool MoveFlat(const FlatTable& table, uintptr_t address, size_t length, size_t new_length,
              int flags, void* new_address, void** result) {
  const int saved = errno;
  *result = MAP_FAILED;
  FlatMapping mapping;
  const Look look = FindFlatMapping(table, address, address + length, &mapping);
  if (look == Look::kNone) {
    errno = saved;
    return false;
  }
  // In place it cannot grow: the kernel would show more of the file there.
  errno = ENOMEM;
  if (look == Look::kFailed || (flags & MREMAP_MAYMOVE) == 0) return true;
  constexpr int kKnown = MREMAP_MAYMOVE | MREMAP_FIXED;
  errno = EINVAL;
  if ((flags & ~kKnown) != 0 || (mapping.protection & PROT_READ) == 0) return true;
  const int fixed = (flags & MREMAP_FIXED) != 0 ? MAP_FIXED : 0;
  void* const moved = mmap(fixed != 0 ? new_address : nullptr, new_length, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | fixed, -1, 0);
  if (moved == MAP_FAILED) return true;
  memcpy(moved, reinterpret_cast<const void*>(address), std::min(length, new_length));
  if (mapping.protection != (PROT_READ | PROT_WRITE))
    (void)mprotect(moved, new_length, mapping.protection);
  munmap(reinterpret_cast<void*>(address), length);
  errno = saved;
  *result = moved;
  return true;
}

}  // namespace spore
