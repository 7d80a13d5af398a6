#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <span>

#include "sandbox/sys/clone.h"
#include "zygote/branch/copy_memory.h"
#include "zygote/branch/huge_pages.h"

namespace spore {
namespace {

constexpr size_t kPieceBytes = 256 << 10;       // through the buffer, which shall stay in a cache
constexpr size_t kPagesAtOnce = 1u << 15;       // of the page maps
constexpr size_t kShareBytes = 2 * kHugeBytes;  // what one hand takes at once
// What is worth a further process, and how many there are at most.
constexpr size_t kHandBytes = 8 << 20;
constexpr size_t kMostHands = 4;

using Pieces = std::span<const Piece>;

// What differs between two processes.
struct Differing {
  std::vector<Piece> pieces;  // of kPieceBytes at most, ascending
  std::vector<Piece> huge;    // the runs of it that can be in large pages, ascending
};

class Difference {
 public:
  Difference(pid_t source, pid_t target) : source_(source), target_(target) {}

  Result<Differing> Find(const std::vector<Mapping>& mappings) {
    SPORE_ASSIGN(PageMap theirs, PageMap::Open(source_));
    SPORE_ASSIGN(PageMap mine, PageMap::Open(target_));
    for (const Mapping& mapping : mappings) {
      if (mapping.IsKernels()) continue;
      const bool unnamed = mapping.name == "/dev/zero (deleted)";
      if (mapping.shared && !unnamed) continue;  // files, which are copied as such
      const size_t first = found_.pieces.size();
      for (uintptr_t at = mapping.begin; at < mapping.end;) {
        const uintptr_t end = std::min(mapping.end, at + kPagesAtOnce * kPageBytes);
        SPORE_TRY(theirs.Read(at, end, their_pages_));
        SPORE_TRY(mine.Read(at, end, my_pages_));
        AddPieces(at, unnamed);
        at = end;
      }
      if (mapping.shared || !mapping.IsAnonymous()) continue;
      const std::vector<Piece> runs = HugeRuns(std::span(found_.pieces).subspan(first));
      found_.huge.insert(found_.huge.end(), runs.begin(), runs.end());
    }
    return std::move(found_);
  }

 private:
  // A page that neither has of its own comes from the file, or is zero, in both.
  bool Differs(size_t i, bool unnamed) const {
    const uint64_t theirs = their_pages_[i], mine = my_pages_[i];
    if (unnamed) return PageMap::IsThere(theirs);
    const auto is_own = [&](uint64_t page) {
      return PageMap::IsOwn(page) && !PageMap::IsZeros(page, zeros_);
    };
    if (!is_own(theirs) && !is_own(mine)) return false;
    return !PageMap::Same(theirs, mine);
  }

  // A piece ends where a large page does, too.
  void AddPieces(uintptr_t base, bool unnamed) {
    const size_t count = their_pages_.size();
    for (size_t i = 0; i < count; ++i) {
      if (!Differs(i, unnamed)) continue;
      size_t end = i + 1;
      while (end < count && (base + end * kPageBytes) % kPieceBytes != 0 && Differs(end, unnamed))
        ++end;
      found_.pieces.push_back({base + i * kPageBytes, (end - i) * kPageBytes});
      i = end - 1;
    }
  }

  pid_t source_, target_;
  const uint64_t zeros_ = PageMap::Zeros();
  std::vector<uint64_t> their_pages_, my_pages_;
  Differing found_;
};

// As many as go through the buffer at once.
std::vector<Pieces> Batches(Pieces pieces) {
  std::vector<Pieces> batches;
  size_t first = 0, bytes = 0;
  for (size_t i = 0; i < pieces.size(); ++i) {
    if (bytes + pieces[i].bytes > kPieceBytes || i - first == kMostPieces) {
      batches.push_back(pieces.subspan(first, i - first));
      first = i;
      bytes = 0;
    }
    bytes += pieces[i].bytes;
  }
  if (first < pieces.size()) batches.push_back(pieces.subspan(first));
  return batches;
}

// A share ends where a large page does, if there is such a place soon.
std::vector<Pieces> Shares(Pieces pieces) {
  std::vector<Pieces> shares;
  size_t first = 0, bytes = 0;
  for (size_t i = 0; i < pieces.size(); ++i) {
    const bool good = pieces[i].begin % kHugeBytes == 0 && bytes >= kShareBytes;
    if (good || bytes >= 2 * kShareBytes) {
      shares.push_back(pieces.subspan(first, i - first));
      first = i;
      bytes = 0;
    }
    bytes += pieces[i].bytes;
  }
  if (first < pieces.size()) shares.push_back(pieces.subspan(first));
  return shares;
}

// What of the runs begins within the share.
std::vector<Piece> RunsOf(Pieces share, const std::vector<Piece>& runs) {
  const uintptr_t begin = share.front().begin, end = share.back().begin + share.back().bytes;
  std::vector<Piece> within;
  for (const Piece& run : runs) {
    const uintptr_t first = std::max(run.begin, (begin + kHugeBytes - 1) & ~(kHugeBytes - 1));
    const uintptr_t last =
        std::min(run.begin + run.bytes, (end + kHugeBytes - 1) & ~(kHugeBytes - 1));
    if (first < last) within.push_back({first, last - first});
  }
  return within;
}

class Copying {
 public:
  Copying(const RemoteMemory& from, const Workbench& target, const Differing& what)
      : from_(from), target_(target), what_(what), shares_(Shares(what.pieces)) {}

  // By so many processes, each of which takes what none has taken yet: one that gets no processor
  // keeps nobody waiting.
  Result<> Run(size_t hands) {
    void* const page =
        mmap(nullptr, kPageBytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) return SysError("map a page");
    next_ = new (page) std::atomic<size_t>(0);
    const Result<> done = RunTogether(hands);
    munmap(page, kPageBytes);
    return done;
  }

 private:
  Result<> Take() {
    std::vector<char> buffer(kPieceBytes);
    HugePages huge(target_.pidfd, target_.memory);
    for (size_t i = next_->fetch_add(1); i < shares_.size(); i = next_->fetch_add(1)) {
      huge.Make(RunsOf(shares_[i], what_.huge));
      for (const Pieces batch : Batches(shares_[i])) {
        SPORE_TRY(from_.Read(batch, buffer.data()));
        SPORE_TRY(target_.memory.Write(batch, buffer.data()));
      }
    }
    return {};
  }

  Result<> RunTogether(size_t hands) {
    std::vector<pid_t> others;
    for (size_t hand = 1; hand < hands; ++hand) {
      const pid_t pid = CloneProcess({.exit_signal = SIGCHLD}, nullptr);
      if (pid < 0) break;  // there is less help
      if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        _exit(Take() ? 0 : 1);
      }
      others.push_back(pid);
    }
    Result<> done = Take();
    for (const pid_t pid : others) {
      int status = 0;
      if (TEMP_FAILURE_RETRY(waitpid(pid, &status, 0)) < 0 || status != 0)
        done = MakeError(ErrorKind::kOverloaded, "its memory could not be copied",
                         "the session's limit memory");
    }
    if (!done) done.error().kind = ErrorKind::kOverloaded;  // as a rule, of memory
    return done;
  }

  const RemoteMemory& from_;
  const Workbench& target_;
  const Differing& what_;
  const std::vector<Pieces> shares_;
  std::atomic<size_t>* next_ = nullptr;  // share; of all hands
};

size_t HandsFor(size_t bytes) {
  cpu_set_t cpus;
  const size_t can = sched_getaffinity(0, sizeof cpus, &cpus) == 0
                         ? static_cast<size_t>(CPU_COUNT(&cpus))
                         : size_t{1};
  return std::clamp<size_t>(bytes / kHandBytes, 1, std::min(can, kMostHands));
}

}  // namespace

Result<uint64_t> CopyPages(pid_t source, const RemoteMemory& from,
                           const std::vector<Mapping>& mappings, const Workbench& target) {
  SPORE_ASSIGN(const Differing what, Difference(source, target.pid).Find(mappings));
  uint64_t bytes = 0;
  for (const Piece& piece : what.pieces) bytes += piece.bytes;
  SPORE_TRY(Copying(from, target, what).Run(HandsFor(bytes)));
  return bytes;
}

}  // namespace spore
