#include <sched.h>

#include <algorithm>
#include <optional>
#include <span>

#include "zygote/branch/copy_memory.h"
#include "zygote/branch/huge_pages.h"

namespace spore {
namespace {

constexpr size_t kPieceBytes = 256 << 10;  // through the buffer, which shall stay in a cache
constexpr size_t kPagesAtOnce = 1u << 15;  // of the page maps
constexpr size_t kMostShareBytes = 2 * kHugeBytes;  // what one process takes at once
constexpr size_t kSharesAtLeast = 8;
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

// Runs of them. `is_full` is told of one so far, its bytes and its number of pieces, and of the
// piece that would be the next.
template <typename IsFull>
std::vector<Pieces> Split(Pieces pieces, IsFull is_full) {
  std::vector<Pieces> runs;
  size_t first = 0, bytes = 0;
  for (size_t i = 0; i < pieces.size(); ++i) {
    if (i > first && is_full(bytes, i - first, pieces[i])) {
      runs.push_back(pieces.subspan(first, i - first));
      first = i;
      bytes = 0;
    }
    bytes += pieces[i].bytes;
  }
  if (first < pieces.size()) runs.push_back(pieces.subspan(first));
  return runs;
}

// As many as go through the buffer at once.
std::vector<Pieces> Batches(Pieces pieces) {
  return Split(pieces, [](size_t bytes, size_t count, const Piece& next) {
    return bytes + next.bytes > kPieceBytes || count == kMostPieces;
  });
}

// A share ends where a large page does, if there is such a place soon.
std::vector<Pieces> Shares(Pieces pieces, size_t share_bytes) {
  return Split(pieces, [share_bytes](size_t bytes, size_t, const Piece& next) {
    return bytes >= 2 * share_bytes || (bytes >= share_bytes && next.begin % kHugeBytes == 0);
  });
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

size_t HandsFor(size_t bytes) {
  cpu_set_t cpus;
  const size_t can = sched_getaffinity(0, sizeof cpus, &cpus) == 0
                         ? static_cast<size_t>(CPU_COUNT(&cpus))
                         : size_t{1};
  return std::clamp<size_t>(bytes / kHandBytes, 1, std::min(can, kMostHands));
}

// So that each has several.
size_t ShareBytes(size_t bytes) {
  return std::clamp(bytes / kSharesAtLeast, kPieceBytes, kMostShareBytes);
}

}  // namespace

Result<PagesCopied> CopyPages(pid_t source, const RemoteMemory& from,
                              const std::vector<Mapping>& mappings, const Workbench& target) {
  SPORE_ASSIGN(const Differing what, Difference(source, target.pid).Find(mappings));
  uint64_t bytes = 0;
  for (const Piece& piece : what.pieces) bytes += piece.bytes;
  const std::vector<Pieces> shares = Shares(what.pieces, ShareBytes(bytes));
  auto hands = Hands::Do(shares.size(), HandsFor(bytes), [&](const Hands::Take& take) -> Result<> {
    std::vector<char> buffer(kPieceBytes);
    HugePages huge(target.pidfd, target.memory);
    while (const std::optional<size_t> share = take()) {
      huge.Make(RunsOf(shares[*share], what.huge));
      for (const Pieces batch : Batches(shares[*share])) {
        SPORE_TRY(from.Read(batch, buffer.data()));
        SPORE_TRY(target.memory.Write(batch, buffer.data()));
      }
    }
    return {};
  });
  if (hands) return PagesCopied{bytes, std::move(*hands)};
  return MakeError(ErrorKind::kOverloaded,  // as a rule, of memory
                   "its memory could not be copied: " + hands.error().Message(),
                   "the session's limit memory");
}

}  // namespace spore
