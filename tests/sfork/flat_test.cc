// Copies of processes whose memory was moved into a file before.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <malloc.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "tests/sfork/pool.h"
#include "tests/sfork/victim.h"
#include "zygote/sfork/flatten.h"

namespace spore::victim {
namespace {

constexpr size_t kPage = 4096, kMib = size_t{1} << 20;

// Frozen, and flat whatever its size.
FrozenProcess FreezeFlat(FlatReport* report = nullptr) {
  FrozenProcess frozen = REQUIRE_VALUE(FrozenProcess::Freeze(Options()));
  const FlatReport made = REQUIRE_VALUE(FlattenMemory({.worthwhile_bytes = 0}));
  if (report != nullptr) *report = made;
  return frozen;
}

char* Map(size_t bytes, int protection = PROT_READ | PROT_WRITE, int flags = 0) {
  void* const memory = mmap(nullptr, bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
  REQUIRE(memory != MAP_FAILED);
  return static_cast<char*>(memory);
}

char Pattern(size_t at) {
  return static_cast<char>(at / kPage * 31 + at % 251 + 1);
}
void Fill(char* memory, size_t bytes) {
  for (size_t at = 0; at < bytes; ++at) memory[at] = Pattern(at);
}
bool IsFilled(const char* memory, size_t bytes, size_t first = 0) {
  for (size_t at = 0; at < bytes; ++at)
    if (memory[at] != Pattern(first + at)) return false;
  return true;
}
bool IsZero(const char* memory, size_t bytes) {
  return memory[0] == 0 && memcmp(memory, memory + 1, bytes - 1) == 0;
}
char* Filled(size_t bytes) {
  char* const memory = Map(bytes);
  Fill(memory, bytes);
  return memory;
}

struct Smaps {
  size_t flat = 0, flat_written = 0, mappings = 0;  // bytes, bytes, mappings of the file
  std::string flags;                                // of the mapping that holds the address
};
Smaps ReadSmaps(const void* address = nullptr) {
  Smaps smaps;
  std::ifstream file("/proc/thread-self/smaps");
  bool is_flat = false, is_it = false;
  for (std::string line; std::getline(file, line);) {
    uintptr_t begin = 0, end = 0;
    if (sscanf(line.c_str(), "%lx-%lx ", &begin, &end) == 2) {
      is_flat = line.find("memfd:spore-zygote") != std::string::npos;
      is_it = begin <= reinterpret_cast<uintptr_t>(address) &&
              reinterpret_cast<uintptr_t>(address) < end;
      if (is_flat) smaps.flat += end - begin;
      if (is_flat) ++smaps.mappings;
    }
    size_t kib = 0;
    if (is_flat && sscanf(line.c_str(), "Anonymous: %zu", &kib) == 1)
      smaps.flat_written += kib * 1024;
    if (is_it && line.starts_with("VmFlags:")) smaps.flags = line.substr(8) + " ";
  }
  return smaps;
}
bool IsFlat(const void* address) {
  std::ifstream file("/proc/thread-self/maps");
  for (std::string line; std::getline(file, line);) {
    uintptr_t begin = 0, end = 0;
    sscanf(line.c_str(), "%lx-%lx ", &begin, &end);
    const auto at = reinterpret_cast<uintptr_t>(address);
    if (begin <= at && at < end) return line.find("memfd:spore-zygote") != std::string::npos;
  }
  return false;
}

VICTIM(Flat, ContentIsTheSameInChildrenAndTheirs) {
  static constexpr size_t kBytes = 40 * kMib;
  static char* const mapped = Filled(kBytes);
  static char* const block = static_cast<char*>(malloc(3 * kMib));
  Fill(block, 3 * kMib);
  static std::vector<std::unique_ptr<int>> many;
  for (int i = 0; i < 100'000; ++i) many.push_back(std::make_unique<int>(i));
  FlatReport report;
  const FrozenProcess frozen = FreezeFlat(&report);
  REQUIRE(report.flat_bytes > kBytes + 3 * kMib && report.unmoved_bytes < 4 * kMib);
  REQUIRE(IsFlat(mapped) && IsFlat(block + kMib) && IsFlat(many[50'000].get()));
  const auto check = [] {
    REQUIRE(IsFilled(mapped, kBytes) && IsFilled(block, 3 * kMib));
    for (int i = 0; i < 100'000; ++i) REQUIRE(*many[static_cast<size_t>(i)] == i);
  };
  SforkAndCheck(frozen, 3, [&] {
    check();
    const pid_t pid = fork();
    if (pid == 0) {
      check();
      _exit(0);
    }
    int status = 0;
    REQUIRE(waitpid(pid, &status, 0) == pid && status == 0);
  });
  check();
}

VICTIM(Flat, NobodySeesWhatAChildWrites) {
  static constexpr size_t kBytes = 8 * kMib;
  static char* const memory = Filled(kBytes);
  const FrozenProcess frozen = FreezeFlat();
  SforkAndCheck(frozen, 5, [] {
    REQUIRE(IsFilled(memory, kBytes));
    memset(memory, 'x', kBytes);
    const pid_t pid = fork();
    if (pid == 0) {
      for (size_t at = 0; at < kBytes; ++at) REQUIRE(memory[at] == 'x');
      memset(memory, 'y', kBytes);
      _exit(0);
    }
    int status = 0;
    REQUIRE(waitpid(pid, &status, 0) == pid && status == 0);
    for (size_t at = 0; at < kBytes; ++at) REQUIRE(memory[at] == 'x');
  });
  REQUIRE(IsFilled(memory, kBytes));
}

// A child that is root of the host may open the file behind a mapping; even so it cannot change it.
VICTIM(Flat, TheFileCannotBeWritten) {
  static constexpr size_t kBytes = kMib;
  static char* const memory = Filled(kBytes);
  const FrozenProcess frozen = FreezeFlat();
  SforkAndCheck(frozen, 2, [] {
    std::string path;
    std::ifstream maps("/proc/self/maps");
    for (std::string line; path.empty() && std::getline(maps, line);) {
      if (line.find("memfd:spore-zygote") != std::string::npos)
        path = "/proc/self/map_files/" + line.substr(0, line.find(' '));
    }
    REQUIRE(!path.empty());
    const UniqueFd file(open(path.c_str(), O_RDWR | O_CLOEXEC));
    if (file) {
      REQUIRE(write(file.get(), "x", 1) < 0 && errno == EPERM);
      REQUIRE(mmap(nullptr, kPage, PROT_WRITE, MAP_SHARED, file.get(), 0) == MAP_FAILED);
      REQUIRE(ftruncate(file.get(), 0) < 0 && ftruncate(file.get(), 1L << 40) < 0);
      REQUIRE(fallocate(file.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, kPage) < 0);
    }
    // What a debugger or a bug would write stays the child's own.
    const UniqueFd self(open("/proc/self/mem", O_RDWR | O_CLOEXEC));
    REQUIRE(pwrite(self.get(), "x", 1, static_cast<off_t>(reinterpret_cast<uintptr_t>(memory))) ==
            1);
    REQUIRE(memory[0] == 'x');
  });
  REQUIRE(IsFilled(memory, kBytes));
}

// A copy goes on, is frozen in its turn, and has what is new moved into a file of its own.
VICTIM(Flat, ACopyOfAFlatOneIsFlattenedAgain) {
  static constexpr size_t kBytes = 4 * kMib;
  static Pool pool(2);
  pool.Run([] { return 1; }).get();
  static char* const first = Filled(kBytes);
  const FrozenProcess frozen = FreezeFlat();
  SforkAndCheck(frozen, 1, [] {
    REQUIRE(pool.Run([] { return 2; }).get() == 2);
    static char* const second = Filled(kBytes);
    memset(first, 'x', kPage);
    REQUIRE(madvise(first + kMib, kMib, MADV_DONTNEED) == 0);
    Fill(first + kMib, kMib);  // anonymous again, in the middle of what is flat
    FlatReport report;
    const FrozenProcess again = FreezeFlat(&report);
    REQUIRE(report.flat_bytes >= kBytes + kMib && report.flat_bytes < 3 * kBytes);
    REQUIRE(IsFlat(first) && IsFlat(first + kMib) && IsFlat(second));
    SforkAndCheck(again, 2, [] {
      REQUIRE(pool.Run([] { return 3; }).get() == 3);
      REQUIRE(first[0] == 'x' && IsFilled(first + kPage, kMib - kPage, kPage));
      REQUIRE(IsFilled(first + kMib, kMib) && IsFilled(first + 2 * kMib, 2 * kMib, 2 * kMib));
      REQUIRE(IsFilled(second, kBytes));
      for (char* memory : {first, first + kMib, second}) {
        REQUIRE(madvise(memory, kMib, MADV_DONTNEED) == 0);
        REQUIRE(IsZero(memory, kMib));
      }
      REQUIRE(IsFilled(first + 2 * kMib, 2 * kMib, 2 * kMib));
      char* const grown = static_cast<char*>(mremap(second + kMib, kMib, 8 * kMib, MREMAP_MAYMOVE));
      REQUIRE(grown != MAP_FAILED && IsFilled(grown, kMib, kMib) && IsZero(grown + kMib, 7 * kMib));
    });
    REQUIRE(IsFilled(second, kBytes));
  });
  REQUIRE(IsFilled(first, kBytes));
}

// A hole in the file would be filled by who reads it, and stay. There is none, nor can one be made.
VICTIM(Flat, TheFileCannotBeFilled) {
  static char* const memory = Filled(2 * kMib);
  const FrozenProcess frozen = FreezeFlat();
  SforkAndCheck(frozen, 1, [] {
    const pid_t pid = fork();
    if (pid == 0) {
      auto* const grown = static_cast<volatile char*>(reinterpret_cast<void*>(
          syscall(SYS_mremap, memory, 2 * kMib, size_t{8} << 30, MREMAP_MAYMOVE)));
      REQUIRE(grown != MAP_FAILED);
      (void)grown[(size_t{8} << 30) - kPage];
      _exit(0);
    }
    int status = 0;
    REQUIRE(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
    REQUIRE(madvise(memory, kMib, MADV_REMOVE) < 0);
  });
}

// The trap: of a file's mapping the kernel would bring back the file.
VICTIM(Flat, DiscardedMemoryIsZero) {
  static constexpr size_t kBytes = 4 * kMib;
  static char* const memory = Filled(kBytes);
  const FrozenProcess frozen = FreezeFlat();
  for (const int advice : {MADV_DONTNEED, MADV_FREE}) {
    SforkAndCheck(frozen, 2, [advice] {
      // One page, never touched; some, written before; the rest stays.
      REQUIRE(madvise(memory + kPage, kPage, advice) == 0);
      memset(memory + kMib, 'x', kMib);
      REQUIRE(madvise(memory + kMib, kMib - 100, advice) == 0);
      REQUIRE(IsZero(memory + kPage, kPage) && IsZero(memory + kMib, kMib));
      REQUIRE(IsFilled(memory, kPage));
      REQUIRE(IsFilled(memory + 2 * kPage, kMib - 2 * kPage, 2 * kPage));
      REQUIRE(IsFilled(memory + 2 * kMib, 2 * kMib, 2 * kMib));
      // Again: now it is anonymous memory, and can be written as before.
      memset(memory + kMib, 'y', kMib);
      REQUIRE(madvise(memory, 2 * kMib, MADV_DONTNEED) == 0);
      REQUIRE(IsZero(memory, 2 * kMib));
      memset(memory, 'z', 2 * kMib);
    });
  }
}

VICTIM(Flat, DiscardingKeepsTheProtectionAndErrors) {
  static char* const memory = Filled(2 * kMib);
  const FrozenProcess frozen = FreezeFlat();
  SforkAndCheck(frozen, 1, [] {
    REQUIRE(madvise(memory + 1, kPage, MADV_DONTNEED) < 0 && errno == EINVAL);
    REQUIRE(IsFilled(memory, 2 * kMib));
    REQUIRE(mprotect(memory, kMib, PROT_READ) == 0);
    REQUIRE(madvise(memory, 2 * kMib, MADV_DONTNEED) == 0);
    REQUIRE(IsZero(memory, 2 * kMib));
    REQUIRE(ReadSmaps(memory).flags.find(" wr ") == std::string::npos);
    memory[kMib] = 1;
    REQUIRE(munmap(memory + kMib, kPage) == 0);
    REQUIRE(madvise(memory, 2 * kMib, MADV_DONTNEED) < 0 && errno == ENOMEM);
    REQUIRE(madvise(memory + 1, kPage, MADV_DONTNEED) < 0 && errno == EINVAL);
  });
  // Where /proc cannot be asked, nothing is said to have been done.
  SforkAndCheck(frozen, 1, [] {
    const rlimit none{.rlim_cur = 0, .rlim_max = 0};
    REQUIRE(setrlimit(RLIMIT_NOFILE, &none) == 0);
    REQUIRE(madvise(memory, kPage, MADV_DONTNEED) < 0 && errno == EAGAIN);
    REQUIRE(IsFilled(memory, kPage));
  });
}

// As on a kernel before 6.11.
VICTIM(Flat, DiscardedMemoryIsZeroWithoutTheQuery) {
  static char* const memory = Filled(2 * kMib);
  const FrozenProcess frozen = FreezeFlat();
  SforkAndCheck(frozen, 1, [] {
    sock_filter program[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ioctl, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOTTY),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const sock_fprog filter{.len = std::size(program), .filter = program};
    REQUIRE(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    REQUIRE(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0);
    REQUIRE(madvise(memory + kPage, kMib, MADV_DONTNEED) == 0);
    REQUIRE(IsFilled(memory, kPage) && IsZero(memory + kPage, kMib));
    REQUIRE(IsFilled(memory + kMib + kPage, kPage, kMib + kPage));
  });
}

VICTIM(Flat, MappingsGrowWithZeros) {
  static char* const memory = Filled(2 * kMib);
  const FrozenProcess frozen = FreezeFlat();
  SforkAndCheck(frozen, 2, [] {
    // The file goes on behind the first half: none of that may appear.
    char* const grown = static_cast<char*>(mremap(memory, kMib, 64 * kMib, MREMAP_MAYMOVE));
    REQUIRE(grown != MAP_FAILED && IsFilled(grown, kMib));
    REQUIRE(IsZero(grown + kMib, 63 * kMib));
    REQUIRE(IsFilled(memory + kMib, kMib, kMib));
    REQUIRE(mremap(memory + kMib, kPage, 2 * kPage, 0) == MAP_FAILED && errno == ENOMEM);
    // Larger still, as anonymous memory; and smaller, in place.
    char* const again = static_cast<char*>(mremap(grown, 64 * kMib, 65 * kMib, MREMAP_MAYMOVE));
    REQUIRE(again != MAP_FAILED && IsFilled(again, kMib) && IsZero(again + kMib, 64 * kMib));
    REQUIRE(mremap(memory + kMib, kMib, kPage, 0) == memory + kMib);
    REQUIRE(IsFilled(memory + kMib, kPage, kMib));
  });
}

VICTIM(Flat, BlocksGrow) {
  static char *large = nullptr, *next = nullptr, *small = nullptr;
  mallopt(M_MMAP_THRESHOLD, 128 * 1024);
  large = static_cast<char*>(malloc(kMib));
  next = static_cast<char*>(malloc(kMib));
  small = static_cast<char*>(malloc(1000));
  for (char* block : {large, next}) Fill(block, kMib);
  Fill(small, 1000);
  const FrozenProcess frozen = FreezeFlat();
  REQUIRE(IsFlat(large) && IsFlat(next));
  SforkAndCheck(frozen, 2, [] {
    for (const size_t size : {2 * kMib, 64 * kMib, 256 * kMib}) {
      for (char** block : {&large, &next}) {
        *block = static_cast<char*>(realloc(*block, size));
        REQUIRE(*block != nullptr && IsFilled(*block, kMib));
        memset(*block + kMib, 'x', size - kMib);  // none of it lies behind the file's end
      }
    }
    large = static_cast<char*>(realloc(large, kMib / 2));
    REQUIRE(IsFilled(large, kMib / 2));
    small = static_cast<char*>(realloc(small, 100'000));
    REQUIRE(IsFilled(small, 1000));
    free(large);
    free(next);
    free(small);
  });
}

VICTIM(Flat, TheBreakMovesAsEver) {
  // malloc has enough of the heap, so that its end is ours.
  mallopt(M_MMAP_THRESHOLD, 32 * kMib);
  mallopt(M_TRIM_THRESHOLD, 64 * kMib);
  void* volatile spare = malloc(16 * kMib);  // volatile: or the compiler leaves both calls out
  free(spare);
  static char* const start = static_cast<char*>(sbrk(4 * kMib));
  Fill(start, 4 * kMib);
  const FrozenProcess frozen = FreezeFlat();
  REQUIRE(IsFlat(start));
  SforkAndCheck(frozen, 2, [] {
    if (sbrk(0) != start + 4 * kMib) fprintf(stderr, "%p %p\n", sbrk(0), start);
    REQUIRE(sbrk(0) == start + 4 * kMib);
    REQUIRE(sbrk(-static_cast<intptr_t>(2 * kMib)) != reinterpret_cast<void*>(-1));
    REQUIRE(sbrk(4 * kMib) == start + 2 * kMib);
    REQUIRE(IsFilled(start, 2 * kMib));
    REQUIRE(IsZero(start + 2 * kMib, 4 * kMib));
    memset(start, 'x', 6 * kMib);
  });
}

// calloc(3) does not clear what it believes to be fresh.
VICTIM(Flat, AllocatorsGiveZeros) {
  static std::vector<char*> blocks;
  const auto allocate = [] {
    for (int i = 0; i < 2000; ++i) {
      blocks.push_back(static_cast<char*>(malloc(20'000)));
      memset(blocks.back(), 'x', 20'000);
    }
  };
  allocate();
  static Pool pool(1);  // its arena is another
  pool.Run(allocate).get();
  const FrozenProcess frozen = FreezeFlat();
  SforkAndCheck(frozen, 2, [] {
    for (char* block : blocks) free(block);
    malloc_trim(0);
    const auto check = [] {
      for (int i = 0; i < 3000; ++i) {
        char* const block = static_cast<char*>(calloc(1, 20'000));
        REQUIRE(block != nullptr && IsZero(block, 20'000));
      }
    };
    check();
    pool.Run(check).get();
  });
}

VICTIM(Flat, TwoHundredThreads) {
  static constexpr int kThreads = 200;
  static Pool pool(kThreads);
  static char* const memory = Filled(16 * kMib);
  // Some stacks are deep, so that they are worth moving.
  const auto deep = [](int i) {
    volatile char frame[300 * 1024];
    for (size_t at = 0; at < sizeof frame; at += 64) frame[at] = static_cast<char>(i);
    return frame[64] + frame[sizeof frame - 64];
  };
  const auto all = [deep] {
    std::vector<std::future<int>> answers;
    for (int i = 0; i < 2 * kThreads; ++i)
      answers.push_back(pool.Run([=] { return deep(i % 60); }));
    for (int i = 0; i < 2 * kThreads; ++i)
      REQUIRE(answers[static_cast<size_t>(i)].get() == 2 * (i % 60));
  };
  all();
  const FrozenProcess frozen = FreezeFlat();
  SforkAndCheck(frozen, 5, [all] {
    all();
    REQUIRE(IsFilled(memory, 16 * kMib));
    // Stacks of ended threads are discarded and used again.
    pool.Join();
    Pool others(kThreads);
    REQUIRE(others.Run([] { return 7; }).get() == 7);
    others.Join();
  });
}

VICTIM(Flat, CodeRuns) {
  static constexpr unsigned char kReturn42[] = {0xb8, 42, 0, 0, 0, 0xc3};  // mov $42,%eax; ret
  static char* const code = Map(kMib, PROT_READ | PROT_WRITE | PROT_EXEC);
  for (size_t at = 0; at < kMib; at += kPage) memcpy(code + at, kReturn42, sizeof kReturn42);
  const FrozenProcess frozen = FreezeFlat();
  REQUIRE(IsFlat(code));
  SforkAndCheck(frozen, 2, [] {
    const auto run = [](char* at) { return reinterpret_cast<int (*)()>(at)(); };
    REQUIRE(run(code + 5 * kPage) == 42);
    code[6 * kPage + 1] = 43;  // a compiler goes on in it
    REQUIRE(run(code + 6 * kPage) == 43);
    REQUIRE(mprotect(code, kMib, PROT_READ) == 0);
    REQUIRE(mprotect(code, kMib, PROT_READ | PROT_EXEC) == 0 && run(code) == 42);
  });
}

VICTIM(Flat, WhatCannotBeMovedIsTold) {
  static char* const locked = Filled(kMib);
  static char* const wiped = Filled(kMib);
  static char* const hidden = Filled(kMib);
  static char* const plain = Filled(kMib);
  const bool is_locked = mlock(locked, kMib) == 0;
  REQUIRE(madvise(wiped, kMib, MADV_WIPEONFORK) == 0);
  REQUIRE(mprotect(hidden, kMib, PROT_NONE) == 0);
  FlatReport report;
  const FrozenProcess frozen = FreezeFlat(&report);
  REQUIRE(IsFlat(plain) && !IsFlat(wiped) && !IsFlat(hidden));
  REQUIRE(report.note.find("1024 KiB wiped in children") != std::string::npos);
  REQUIRE(report.note.find("not readable") != std::string::npos);
  if (is_locked) REQUIRE(report.note.find("1024 KiB locked in memory") != std::string::npos);
  REQUIRE(report.unmoved_bytes >= (is_locked ? 3 : 2) * kMib);
  SforkAndCheck(frozen, 2, [] {
    REQUIRE(IsFilled(locked, kMib) && IsZero(wiped, kMib) && IsFilled(plain, kMib));
    REQUIRE(mprotect(hidden, kMib, PROT_READ) == 0 && IsFilled(hidden, kMib));
  });
}

VICTIM(Flat, WhatWasReservedCostsNothing) {
  static constexpr size_t kBytes = size_t{8} << 30;
  static char* const memory = Map(kBytes, PROT_READ | PROT_WRITE, MAP_NORESERVE);
  Fill(memory + kBytes / 2, kMib);
  memory[kPage] = 'x';
  FlatReport report;
  const FrozenProcess frozen = FreezeFlat(&report);
  REQUIRE(report.flat_bytes < 16 * kMib);
  REQUIRE(IsFlat(memory + kBytes / 2) && !IsFlat(memory) && !IsFlat(memory + kBytes / 2 + kMib));
  SforkAndCheck(frozen, 2, [] {
    REQUIRE(IsFilled(memory + kBytes / 2, kMib) && memory[kPage] == 'x');
    REQUIRE(IsZero(memory + kBytes / 2 + kMib, kMib));
    memset(memory + kBytes / 2 + kMib, 'y', kMib);
  });
}

VICTIM(Flat, AdviceIsKept) {
  static char* const memory = Filled(8 * kMib);
  REQUIRE(madvise(memory, 4 * kMib, MADV_DONTDUMP) == 0);
  const bool huge = madvise(memory + 4 * kMib, 4 * kMib, MADV_NOHUGEPAGE) == 0;
  const FrozenProcess frozen = FreezeFlat();
  REQUIRE(IsFlat(memory) && IsFlat(memory + 4 * kMib));
  SforkAndCheck(frozen, 1, [huge] {
    REQUIRE(ReadSmaps(memory).flags.find(" dd ") != std::string::npos);
    REQUIRE(!huge || ReadSmaps(memory + 4 * kMib).flags.find(" nh ") != std::string::npos);
  });
}

// Each page that the zygote writes is one that the next fork has to copy an entry of.
VICTIM(Flat, TheZygoteStaysFlat) {
  static char* const memory = Filled(32 * kMib);
  static Pool pool(8);
  const FrozenProcess frozen = FreezeFlat();
  SforkAndCheck(frozen, 500, [] { REQUIRE(memory[kMib] == Pattern(kMib)); });
  const Smaps smaps = ReadSmaps();
  REQUIRE(smaps.flat >= 32 * kMib && smaps.flat_written < kMib);
}

VICTIM(Flat, LittleIsLeftAlone) {
  FrozenProcess frozen = REQUIRE_VALUE(FrozenProcess::Freeze(Options()));
  const FlatReport report = REQUIRE_VALUE(FlattenMemory({.worthwhile_bytes = 64 * kMib}));
  REQUIRE(report.flat_bytes == 0 && report.unmoved_bytes > 0);
  REQUIRE(report.note == "too little to be worth it" && ReadSmaps().mappings == 0);
}

// A process that can have no more files is as fit for being copied as before.
VICTIM(Flat, WithoutDescriptorsNothingIsMoved) {
  static char* const memory = Filled(kMib);
  FrozenProcess frozen = REQUIRE_VALUE(FrozenProcess::Freeze(Options()));
  rlimit before{};
  REQUIRE(getrlimit(RLIMIT_NOFILE, &before) == 0);
  const rlimit none{.rlim_cur = 0, .rlim_max = before.rlim_max};
  REQUIRE(setrlimit(RLIMIT_NOFILE, &none) == 0);
  const FlatReport report = REQUIRE_VALUE(FlattenMemory({.worthwhile_bytes = 0}));
  REQUIRE(setrlimit(RLIMIT_NOFILE, &before) == 0);
  REQUIRE(report.flat_bytes == 0 && report.note.find("Too many open files") != std::string::npos);
  SforkAndCheck(frozen, 1, [] { REQUIRE(IsFilled(memory, kMib)); });
}

// A limit on files' sizes ends the moving half way: what is moved is, and the rest stays.
VICTIM(Flat, HalfMovedMemoryIsWhole) {
  static char* const memory = Filled(64 * kMib);
  signal(SIGXFSZ, SIG_IGN);
  FrozenProcess frozen = REQUIRE_VALUE(FrozenProcess::Freeze(Options()));
  rlimit before{};
  REQUIRE(getrlimit(RLIMIT_FSIZE, &before) == 0);
  const rlimit half{.rlim_cur = 20 * kMib, .rlim_max = before.rlim_max};
  REQUIRE(setrlimit(RLIMIT_FSIZE, &half) == 0);
  const FlatReport report = REQUIRE_VALUE(FlattenMemory({.worthwhile_bytes = 0}));
  REQUIRE(setrlimit(RLIMIT_FSIZE, &before) == 0);
  REQUIRE(report.flat_bytes > 8 * kMib && report.flat_bytes <= 20 * kMib);
  REQUIRE(report.unmoved_bytes >= 44 * kMib);
  REQUIRE(report.note.find("that the kernel refused to move (File too large)") !=
          std::string::npos);
  SforkAndCheck(frozen, 2, [] { REQUIRE(IsFilled(memory, 64 * kMib)); });
}

}  // namespace
}  // namespace spore::victim
