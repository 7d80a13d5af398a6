#include "zygote/sfork/flatten.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <span>
#include <utility>

#include "sandbox/sys/unique_fd.h"
#include "zygote/sfork/arch.h"
#include "zygote/sfork/memory_map.h"
#include "zygote/sfork/signals_blocked.h"

#pragma weak SporeSforkUseFlatTable

#ifndef MFD_EXEC  // Linux 6.3
#define MFD_EXEC 0x10u
#endif

namespace spore {
namespace {

using arch::RawSyscall;

constexpr uintptr_t kPage = 4096;
// Pages that nobody has touched between two that somebody has: so many are written as zeros rather
// than left out, since a mapping more costs a fork as much as twenty pages (docs/decisions/0010).
constexpr uintptr_t kGap = 16 * kPage;
constexpr uintptr_t kSmall = 16 * kPage;
constexpr size_t kMaxRanges = 8192;
constexpr size_t kMaxRegions = 32768;
// At once in memory twice.
constexpr uintptr_t kPart = uintptr_t{8} << 20;
// What moves the memory writes to this much of its stack.
constexpr uintptr_t kStackBelow = 256 << 10, kStackAbove = 64 << 10;

template <typename T>
long Word(T pointer) {
  return reinterpret_cast<long>(pointer);
}

// What moving needs, in memory that is not moved: shared, so that the kernel merges it with
// nothing.
struct Workspace {
  std::array<Region, kMaxRegions> regions;
  std::array<FlatRange, kMaxRanges> ranges;
  std::array<uint64_t, 8192> pages;  // entries of pagemap
  std::array<char, 65536> text;
};

class WorkspaceOwner {
 public:
  WorkspaceOwner()
      : memory_(mmap(nullptr, sizeof(Workspace), PROT_READ | PROT_WRITE,
                     MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)) {}
  ~WorkspaceOwner() {
    if (valid()) munmap(memory_, sizeof(Workspace));
  }
  WorkspaceOwner(const WorkspaceOwner&) = delete;
  WorkspaceOwner& operator=(const WorkspaceOwner&) = delete;
  bool valid() const { return memory_ != MAP_FAILED; }
  Workspace& operator*() const { return *static_cast<Workspace*>(memory_); }

 private:
  void* memory_;
};

[[noreturn]] void GiveUp() {
  constexpr char kText[] = "sfork: memory was lost while it was moved\n";
  RawSyscall(SYS_write, 2, Word(kText), sizeof kText - 1);
  for (;;) RawSyscall(SYS_exit_group, 1);
}

// mmap(2) refuses before it unmaps what it would replace, but does not promise that.
void CheckThere(uintptr_t begin, uintptr_t length) {
  if (RawSyscall(SYS_madvise, static_cast<long>(begin), static_cast<long>(length), MADV_NORMAL) < 0)
    GiveUp();
}

// Gives a new mapping the advice that the old one had.
void Advise(const Region& region, uintptr_t begin, uintptr_t length) {
  const auto advise = [&](int advice) {
    RawSyscall(SYS_madvise, static_cast<long>(begin), static_cast<long>(length), advice);
  };
  if (region.not_dumped) advise(MADV_DONTDUMP);
  if (region.huge_pages) advise(MADV_HUGEPAGE);
  if (region.no_huge_pages) advise(MADV_NOHUGEPAGE);
}

// By the page's entry in pagemap (proc_pid_pagemap(5)), and by what is in it.
bool HoldsSomething(uintptr_t address, uint64_t entry) {
  constexpr uint64_t kPresent = uint64_t{1} << 63, kSwapped = uint64_t{1} << 62;
  if ((entry & kPresent) == 0) return (entry & kSwapped) != 0;
  const auto* word = reinterpret_cast<const uint64_t*>(address);
  const uint64_t* const last = word + kPage / sizeof *word;
  return std::find_if(word, last, [](uint64_t w) { return w != 0; }) != last;
}

// Writes memory to the file and maps it back. While it works nothing else of the process changes:
// raw system calls, the workspace, and a part of the caller's stack that is left out.
class Mover {
 public:
  Mover(int file, int pagemap, uintptr_t stack, Workspace& workspace)
      : file_(file), pagemap_(pagemap), stack_(stack), workspace_(workspace) {}

  void Move(const Region& region);

  uint64_t moved() const { return offset_; }
  uint64_t unmoved(Unmoved reason) const { return unmoved_[static_cast<size_t>(reason)]; }
  size_t ranges() const { return ranges_; }
  long error() const { return error_; }
  void LeaveOut(Unmoved reason, uint64_t bytes) { unmoved_[static_cast<size_t>(reason)] += bytes; }

 private:
  bool IsStack(uintptr_t address) const {
    return address + kStackBelow >= stack_ && address < stack_ + kStackAbove;
  }
  void Clear(const Region& region, uintptr_t begin, uintptr_t end);
  void MoveRun(const Region& region, uintptr_t begin, uintptr_t end);
  bool MovePart(const Region& region, uintptr_t begin, uintptr_t length);
  void Note(uintptr_t begin, uintptr_t end);

  const int file_, pagemap_;
  const uintptr_t stack_;
  Workspace& workspace_;
  uint64_t offset_ = 0;  // the file's end
  size_t ranges_ = 0;
  long error_ = 0;
  uint64_t unmoved_[static_cast<size_t>(Unmoved::kReasons)] = {};
};

// In runs of pages that hold something: what was reserved and never used costs nothing, and stays
// memory that is zero when it is first used. Pages of zeros, which whoever only reads leaves
// behind, become that again.
void Mover::Move(const Region& region) {
  constexpr uint64_t kGuard = uint64_t{1} << 58;
  uintptr_t begin = 0, end = region.begin;  // the last run; begin == 0: none
  for (uintptr_t at = region.begin; at < region.end;) {
    const size_t count = std::min(workspace_.pages.size(), (region.end - at) / kPage);
    const long got = RawSyscall(SYS_pread64, pagemap_, Word(workspace_.pages.data()),
                                static_cast<long>(count * sizeof(uint64_t)),
                                static_cast<long>(at / kPage * sizeof(uint64_t)));
    if (got < static_cast<long>(sizeof(uint64_t))) break;
    const auto entries = static_cast<size_t>(got) / sizeof(uint64_t);
    for (size_t i = 0; i < entries; ++i, at += kPage) {
      // What was made inaccessible without a mapping of its own must stay so (MADV_GUARD_INSTALL).
      if ((workspace_.pages[i] & kGuard) != 0) {
        MoveRun(region, begin, end);
        return LeaveOut(Unmoved::kOther, region.end - at);
      }
      if (!HoldsSomething(at, workspace_.pages[i])) continue;
      if (IsStack(at)) {
        LeaveOut(Unmoved::kStack, kPage);
        continue;
      }
      if (begin == 0 || at - end > kGap) {
        MoveRun(region, begin, end);
        Clear(region, end, at);
        begin = at;
      }
      end = at + kPage;
    }
  }
  MoveRun(region, begin, end);
  Clear(region, end, region.end);
}

// Between runs there are zeros, or nothing: fresh memory is the same, and has neither page tables
// nor a list of processes that share it, which each fork would copy.
void Mover::Clear(const Region& region, uintptr_t begin, uintptr_t end) {
  if (end - begin < kGap || ranges_ == kMaxRanges) return;
  if (begin < stack_ + kStackAbove && end + kStackBelow > stack_) return;
  const int flags =
      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | (region.no_reserve ? MAP_NORESERVE : 0);
  const long mapped = RawSyscall(SYS_mmap, static_cast<long>(begin), static_cast<long>(end - begin),
                                 region.protection, flags, -1, 0);
  if (mapped < 0 && mapped > -4096) return CheckThere(begin, end - begin);
  Advise(region, begin, end - begin);
}

void Mover::MoveRun(const Region& region, uintptr_t begin, uintptr_t end) {
  if (begin == 0) return;
  if (error_ != 0) return LeaveOut(Unmoved::kFailed, end - begin);
  if (end - begin < kSmall) return LeaveOut(Unmoved::kSmall, end - begin);
  if (ranges_ == kMaxRanges) return LeaveOut(Unmoved::kTooMany, end - begin);
  for (uintptr_t at = begin; at < end;) {
    const uintptr_t length = std::min(kPart, end - at);
    if (!MovePart(region, at, length)) return LeaveOut(Unmoved::kFailed, end - at);
    Note(at, at + length);
    at += length;
  }
}

bool Mover::MovePart(const Region& region, uintptr_t begin, uintptr_t length) {
  const uint64_t offset = offset_;
  for (uintptr_t done = 0; done < length && error_ == 0;) {
    const long wrote =
        RawSyscall(SYS_pwrite64, file_, static_cast<long>(begin + done),
                   static_cast<long>(length - done), static_cast<long>(offset + done));
    if (wrote <= 0 && wrote != -EINTR) error_ = wrote == 0 ? -EIO : wrote;
    if (wrote > 0) done += static_cast<uintptr_t>(wrote);
  }
  long mapped = error_;
  if (error_ == 0) {
    const int flags = MAP_PRIVATE | MAP_FIXED | (region.no_reserve ? MAP_NORESERVE : 0);
    mapped = RawSyscall(SYS_mmap, static_cast<long>(begin), static_cast<long>(length),
                        region.protection, flags, file_, static_cast<long>(offset));
  }
  if (mapped < 0 && mapped > -4096) {
    error_ = mapped;
    RawSyscall(SYS_ftruncate, file_, static_cast<long>(offset));
    CheckThere(begin, length);
    return false;
  }
  offset_ = offset + length;
  Advise(region, begin, length);
  return true;
}

void Mover::Note(uintptr_t begin, uintptr_t end) {
  if (ranges_ > 0 && workspace_.ranges[ranges_ - 1].end == begin) {
    workspace_.ranges[ranges_ - 1].end = end;
  } else {
    workspace_.ranges[ranges_++] = {begin, end};
  }
}

// Executable where the host allows it, since a runtime's compiled code is mapped from it.
Result<UniqueFd> MakeFile() {
  constexpr const char* kName = "spore-zygote";
  UniqueFd file(memfd_create(kName, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_EXEC));
  if (!file) file.Reset(memfd_create(kName, MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!file) return SysError("memfd_create");
  return file;
}

// From here on nobody can write to it, not even who finds a way to open it again: all children map
// it. Nor can it grow: a hole in it would be memory that a child could take and nobody would pay
// for.
Result<> Seal(int file) {
  if (fchmod(file, 0) < 0) return SysError("fchmod", "the memfd of the zygote's memory");
  constexpr int kSeals = F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
  // EBUSY while somebody else's reference to a page is just being dropped.
  for (int tries = 0; fcntl(file, F_ADD_SEALS, kSeals) < 0; ++tries) {
    if (errno != EBUSY || tries == 100) return SysError("seal", "the memfd of the zygote's memory");
    const timespec pause{.tv_sec = 0, .tv_nsec = 10'000'000};
    nanosleep(&pause, nullptr);
  }
  return {};
}

// Of this process, or of those that it is a copy of, which have moved theirs.
FlatTable published;

// Those of `known` and of `added`, both ascending, one where they overlap.
size_t Merge(std::span<const FlatRange> known, std::span<const FlatRange> added, FlatRange* all) {
  std::merge(known.begin(), known.end(), added.begin(), added.end(), all,
             [](const FlatRange& a, const FlatRange& b) { return a.begin < b.begin; });
  size_t count = 0;
  for (size_t i = 0; i < known.size() + added.size(); ++i) {
    if (count > 0 && all[i].begin <= all[count - 1].end) {
      all[count - 1].end = std::max(all[count - 1].end, all[i].end);
    } else {
      all[count++] = all[i];
    }
  }
  return count;
}

// The functions that know of moved memory look it up here for the rest of the process's life.
Result<> Publish(std::span<const FlatRange> ranges, int file) {
  struct stat status {};
  if (fstat(file, &status) < 0) return SysError("fstat", "the memfd of the zygote's memory");
  const std::span<const FlatRange> known(published.ranges, published.count);
  const size_t bytes = known.size_bytes() + ranges.size_bytes();
  void* const memory =
      mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return SysError("mmap");
  auto* const all = static_cast<FlatRange*>(memory);
  published.count = Merge(known, ranges, all);
  if (mprotect(memory, bytes, PROT_READ) < 0) return SysError("mprotect");
  published.ranges = all;
  published.files[published.file_count++] = {status.st_dev, status.st_ino};
  SporeSforkUseFlatTable(&published);
  return {};
}

std::string Size(uint64_t bytes) {
  constexpr uint64_t kKib = 1024, kMib = kKib * kKib;
  return bytes >= 10 * kMib ? std::to_string(bytes / kMib) + " MiB"
                            : std::to_string((bytes + kKib - 1) / kKib) + " KiB";
}

FlatReport Describe(const Mover& mover) {
  FlatReport report{.flat_bytes = mover.moved(), .mappings = static_cast<uint32_t>(mover.ranges())};
  for (size_t i = 0; i < static_cast<size_t>(Unmoved::kReasons); ++i) {
    const auto reason = static_cast<Unmoved>(i);
    const uint64_t bytes = mover.unmoved(reason);
    report.unmoved_bytes += bytes;
    if (bytes == 0 || reason == Unmoved::kSmall || reason == Unmoved::kStack) continue;
    report.note += (report.note.empty() ? "" : ", ") + Size(bytes) + " " + NameOf(reason);
    if (reason == Unmoved::kFailed)
      report.note += std::string(" (") + strerror(static_cast<int>(-mover.error())) + ")";
  }
  return report;
}

FlatReport NotDone(uint64_t bytes, std::string note) {
  return {.flat_bytes = 0, .unmoved_bytes = bytes, .mappings = 0, .note = std::move(note)};
}

// All of it in one function, whose frame tells what part of the stack is in use.
void MoveAll(std::span<const Region> regions, Mover& mover) {
  const SignalsBlocked blocked;
  for (const Region& region : regions) {
    if (region.obstacle == Unmoved::kNot) {
      mover.Move(region);
    } else {
      mover.LeaveOut(region.obstacle, region.bytes);
    }
  }
  // The kernel keeps the number of the processor in a page that may have moved meanwhile (rseq(2)),
  // and writes it again when the thread has slept.
  const timespec pause{.tv_sec = 0, .tv_nsec = 1};
  RawSyscall(SYS_nanosleep, Word(&pause), 0);
}

}  // namespace

Result<FlatReport> FlattenMemory(const FlattenOptions& options) {
  const WorkspaceOwner owner;
  if (!owner.valid()) return NotDone(0, std::string("no memory to work in: ") + strerror(errno));
  Workspace& workspace = *owner;
  const UniqueFd pagemap(open("/proc/thread-self/pagemap", O_RDONLY | O_CLOEXEC));
  if (!pagemap) return NotDone(0, std::string("open pagemap: ") + strerror(errno));
  Result<UniqueFd> file = MakeFile();
  if (!file) return NotDone(0, file.error().Message());
  const ssize_t found = ReadRegions(workspace.regions, workspace.text);
  if (found < 0) return NotDone(0, std::string("read smaps: ") + strerror(errno));
  const std::span<const Region> regions(workspace.regions.data(), static_cast<size_t>(found));
  uint64_t all = 0, movable = 0;
  for (const Region& region : regions) {
    all += region.bytes;
    if (region.obstacle == Unmoved::kNot) movable += region.bytes;
  }
  if (SporeSforkUseFlatTable == nullptr)
    return NotDone(all, "madvise is not libsfork's: preload or link its interposers");
  if (movable < options.worthwhile_bytes) return NotDone(all, "too little to be worth it");
  if (published.file_count == FlatTable::kMostFiles)
    return NotDone(all, "it is a copy of too many that were flat");

  Mover mover(file->get(), pagemap.get(), reinterpret_cast<uintptr_t>(__builtin_frame_address(0)),
              workspace);
  MoveAll(regions, mover);
  if (mover.ranges() > 0) {
    SPORE_TRY(Publish(std::span(workspace.ranges.data(), mover.ranges()), file->get()));
    SPORE_TRY(Seal(file->get()));
  }
  return Describe(mover);
}

}  // namespace spore
