#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include <algorithm>
#include <optional>

#include "zygote/branch/copy_memory.h"

namespace spore {
namespace {

constexpr uintptr_t kLowest = 0x100000;  // above vm.mmap_min_addr
constexpr uintptr_t kHighest = 0x7ffffffff000;
constexpr uint64_t kMostMapped = 256ull << 30;
constexpr uint64_t kNowhere = ~0ull;  // as a descriptor: -1

// What has no name but for this (shmem_zero_setup in the kernel's mm/shmem.c).
bool IsSharedMemory(const Mapping& mapping) {
  return mapping.shared && mapping.name == "/dev/zero (deleted)";
}

const Mapping* Named(const std::vector<Mapping>& mappings, std::string_view name) {
  const auto found = std::find_if(mappings.begin(), mappings.end(),
                                  [&](const Mapping& mapping) { return mapping.name == name; });
  return found == mappings.end() ? nullptr : &*found;
}

// The tables of all of it are read.
Result<> CheckSize(const std::vector<Mapping>& source) {
  uint64_t bytes = 0;
  for (const Mapping& mapping : source)
    if (!mapping.IsKernels()) bytes += mapping.end - mapping.begin;
  if (bytes <= kMostMapped) return {};
  return MakeError(ErrorKind::kPrecondition, fmt::format("it has mapped {} GiB; at most {} can be "
                                                         "copied",
                                                         bytes >> 30, kMostMapped >> 30));
}

Result<> CheckKernelsPages(const std::vector<Mapping>& source, const std::vector<Mapping>& own) {
  for (const Mapping& mapping : source) {
    if (!mapping.IsKernels()) continue;
    const Mapping* mine = Named(own, mapping.name);
    if (mine == nullptr || mine->begin != mapping.begin || mine->end != mapping.end) {
      return MakeError(ErrorKind::kPrecondition,
                       Describe(mapping) + " is elsewhere in a fresh interpreter",
                       "its zygote has been replaced since");
    }
  }
  return {};
}

// The part of `mapping` within a range.
Mapping Part(const Mapping& mapping, uintptr_t begin, uintptr_t end) {
  Mapping part = mapping;
  part.begin = std::max(mapping.begin, begin);
  part.end = std::min(mapping.end, end);
  part.offset += part.begin - mapping.begin;
  return part;
}

// What of `a` nothing in `b` (ascending) covers with the same behind it; all of `b`, if `any`.
std::vector<Mapping> Without(const std::vector<Mapping>& a, const std::vector<Mapping>& b,
                             bool any) {
  std::vector<Mapping> rest;
  for (const Mapping& mapping : a) {
    if (mapping.IsKernels()) continue;
    uintptr_t at = mapping.begin;
    const auto first = std::partition_point(
        b.begin(), b.end(), [&](const Mapping& other) { return other.end <= mapping.begin; });
    for (auto it = first; it != b.end() && it->begin < mapping.end; ++it) {
      const Mapping& other = *it;
      if (!any && (!mapping.SameBehind(other) || IsSharedMemory(mapping))) continue;
      if (other.begin > at) rest.push_back(Part(mapping, at, other.begin));
      at = std::min(other.end, mapping.end);
    }
    if (at < mapping.end) rest.push_back(Part(mapping, at, mapping.end));
  }
  return rest;
}

// A heap of several protections is several mappings.
uintptr_t EndOfHeap(const std::vector<Mapping>& mappings) {
  uintptr_t end = 0;
  for (const Mapping& mapping : mappings)
    if (mapping.name == "[heap]") end = mapping.end;
  return end;
}

// The mappings of the target, but for its scratch pages, which are the worker's.
Result<std::vector<Mapping>> ReadOwn(const Workbench& target) {
  SPORE_ASSIGN(std::vector<Mapping> own, ReadMappings(target.pid));
  std::erase_if(own, [&](const Mapping& mapping) { return mapping.begin == target.scratch; });
  return own;
}

// `own` is read again, if it has changed.
Result<> SetBreak(const std::vector<Mapping>& source, std::vector<Mapping>& own,
                  Workbench& target) {
  const Mapping* theirs = Named(source, "[heap]");
  const Mapping* mine = Named(own, "[heap]");
  const uintptr_t end = EndOfHeap(source);
  if (theirs == nullptr || mine == nullptr) return {};
  if (theirs->begin != mine->begin)
    return MakeError(ErrorKind::kPrecondition, "its heap is elsewhere in a fresh interpreter",
                     "its zygote has been replaced since");
  if (end == EndOfHeap(own)) return {};
  SPORE_ASSIGN(const uint64_t now, target.thread.Make("brk", SYS_brk, end));
  if (now != end) return MakeError(ErrorKind::kOverloaded, "no memory for its heap");
  SPORE_ASSIGN(own, ReadOwn(target));
  return {};
}

Result<uint64_t> OpenFile(const Mapping& mapping, Workbench& target) {
  if (mapping.name.empty() || mapping.name.front() != '/' || mapping.name.ends_with(" (deleted)") ||
      mapping.name.starts_with("/memfd:")) {
    return MakeError(ErrorKind::kPrecondition,
                     "it has mapped what cannot be opened again: " + Describe(mapping));
  }
  SPORE_ASSIGN(const uintptr_t path, target.PlaceText(mapping.name));
  const bool writes = mapping.shared && (mapping.protection & PROT_WRITE) != 0;
  auto file = target.thread.Make("open", SYS_openat, static_cast<uint64_t>(AT_FDCWD), path,
                                 static_cast<uint64_t>(O_CLOEXEC | (writes ? O_RDWR : O_RDONLY)));
  if (!file) file.error().object = mapping.name;
  return file;
}

Result<> Map(const Mapping& mapping, Workbench& target) {
  const bool plain = mapping.IsAnonymous() || IsSharedMemory(mapping);
  const uint64_t flags =
      static_cast<uint64_t>(MAP_FIXED | (mapping.shared ? MAP_SHARED : MAP_PRIVATE) |
                            (plain ? MAP_ANONYMOUS | MAP_NORESERVE : 0) |
                            (mapping.name == "[stack]" ? MAP_GROWSDOWN : 0));
  uint64_t file = kNowhere;
  if (!plain) {
    SPORE_ASSIGN(file, OpenFile(mapping, target));
  }
  auto mapped = target.thread.Make("mmap", SYS_mmap, mapping.begin, mapping.end - mapping.begin,
                                   static_cast<uint64_t>(mapping.protection), flags, file,
                                   plain ? 0 : mapping.offset);
  if (file != kNowhere) SPORE_TRY(target.thread.Make("close", SYS_close, file));
  if (mapped) return {};
  mapped.error().object = Describe(mapping);
  return tl::unexpected(std::move(mapped).error());
}

// Mappings that are there have the protection of the source's. Gives whether any got another one.
Result<bool> Protect(const std::vector<Mapping>& source, const std::vector<Mapping>& own,
                     Workbench& target) {
  bool changed = false;
  for (const Mapping& mapping : source) {
    if (mapping.IsKernels()) continue;
    const auto first = std::partition_point(
        own.begin(), own.end(), [&](const Mapping& mine) { return mine.end <= mapping.begin; });
    for (auto it = first; it != own.end() && it->begin < mapping.end; ++it) {
      const Mapping& mine = *it;
      if (mine.protection == mapping.protection) continue;
      const Mapping part = Part(mine, mapping.begin, mapping.end);
      SPORE_TRY(target.thread.Make("mprotect", SYS_mprotect, part.begin, part.end - part.begin,
                                   static_cast<uint64_t>(mapping.protection)));
      changed = true;
    }
  }
  return changed;
}

// Files of /tmp are copies, so that only what they are called is the same.
bool IsTemporary(const Mapping& mapping) {
  return mapping.name.starts_with("/tmp/") || mapping.name.starts_with("/dev/shm/");
}

Result<> Verify(const std::vector<Mapping>& source, const std::vector<Mapping>& own) {
  for (const Mapping& mapping : Without(source, own, false)) {
    if (IsTemporary(mapping) || IsSharedMemory(mapping)) continue;
    return MakeError(ErrorKind::kPrecondition,
                     "its mapping cannot be made again: " + Describe(mapping));
  }
  for (const Mapping& mapping : Without(own, source, true))
    return MakeError(ErrorKind::kInternal, "a mapping is left over: " + Describe(mapping));
  return {};
}

}  // namespace

bool MapsTemporaryFiles(const std::vector<Mapping>& source) {
  return std::any_of(source.begin(), source.end(), IsTemporary);
}

Result<> MakeScratch(Workbench& target, const std::vector<Mapping>& source,
                     const std::vector<Mapping>& own) {
  std::vector<std::pair<uintptr_t, uintptr_t>> used;
  for (const auto* maps : {&source, &own})
    for (const Mapping& mapping : *maps) used.emplace_back(mapping.begin, mapping.end);
  std::sort(used.begin(), used.end());
  uintptr_t place = kLowest;
  for (const auto& [begin, end] : used) {
    if (begin >= place + kScratchBytes + kPageBytes) break;
    place = std::max(place, end + kPageBytes);
  }
  if (place > kHighest) return MakeError(ErrorKind::kOverloaded, "its address space is full");
  SPORE_ASSIGN(target.scratch,
               target.thread.Make("mmap", SYS_mmap, place, kScratchBytes, PROT_READ | PROT_WRITE,
                                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, kNowhere, 0));
  return {};
}

Result<> DropScratch(Workbench& target) {
  SPORE_TRY(target.thread.Make("munmap", SYS_munmap, target.scratch, kScratchBytes));
  target.scratch = 0;
  return {};
}

Result<> CopyLayout(const std::vector<Mapping>& source, std::vector<Mapping> own,
                    Workbench& target) {
  SPORE_TRY(CheckSize(source));
  SPORE_TRY(CheckKernelsPages(source, own));
  SPORE_TRY(SetBreak(source, own, target));
  const std::vector<Mapping> superfluous = Without(own, source, true);
  for (const Mapping& mapping : superfluous)
    SPORE_TRY(target.thread.Make("munmap", SYS_munmap, mapping.begin, mapping.end - mapping.begin));
  const std::vector<Mapping> missing = Without(source, own, false);
  for (const Mapping& mapping : missing) SPORE_TRY(Map(mapping, target));
  // To read them takes longer than to look at them.
  if (!superfluous.empty() || !missing.empty()) {
    SPORE_ASSIGN(own, ReadOwn(target));
  }
  SPORE_ASSIGN(const bool changed, Protect(source, own, target));
  if (changed) {
    SPORE_ASSIGN(own, ReadOwn(target));
  }
  return Verify(source, own);
}

}  // namespace spore
