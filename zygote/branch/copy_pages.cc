#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <span>

#include "sandbox/sys/clone.h"
#include "zygote/branch/copy_memory.h"

namespace spore {
namespace {

constexpr size_t kPieceBytes = 256 << 10;  // through the buffer, which shall stay in a cache
constexpr size_t kPagesAtOnce = 1u << 15;  // of the page maps
// What is worth a further process, and how many there are at most.
constexpr size_t kShareBytes = 8 << 20;
constexpr size_t kMostHands = 4;

using Pieces = std::span<const Piece>;

// What differs between two processes.
class Difference {
 public:
  Difference(pid_t source, pid_t target) : source_(source), target_(target) {}

  Result<std::vector<Piece>> Find(const std::vector<Mapping>& mappings) {
    SPORE_ASSIGN(PageMap theirs, PageMap::Open(source_));
    SPORE_ASSIGN(PageMap mine, PageMap::Open(target_));
    for (const Mapping& mapping : mappings) {
      if (mapping.IsKernels()) continue;
      const bool unnamed = mapping.name == "/dev/zero (deleted)";
      if (mapping.shared && !unnamed) continue;  // files, which are copied as such
      for (uintptr_t at = mapping.begin; at < mapping.end;) {
        const uintptr_t end = std::min(mapping.end, at + kPagesAtOnce * kPageBytes);
        SPORE_TRY(theirs.Read(at, end, their_pages_));
        SPORE_TRY(mine.Read(at, end, my_pages_));
        AddPieces(at, unnamed);
        at = end;
      }
    }
    return std::move(pieces_);
  }

 private:
  // A page that neither has of its own comes from the file, or is zero, in both.
  bool Differs(size_t i, bool unnamed) const {
    const uint64_t theirs = their_pages_[i], mine = my_pages_[i];
    if (unnamed) return PageMap::IsThere(theirs);
    if (!PageMap::IsOwn(theirs) && !PageMap::IsOwn(mine)) return false;
    return !PageMap::Same(theirs, mine);
  }

  void AddPieces(uintptr_t base, bool unnamed) {
    const size_t count = their_pages_.size();
    for (size_t i = 0; i < count; ++i) {
      if (!Differs(i, unnamed)) continue;
      size_t end = i + 1;
      while (end < count && (end - i) * kPageBytes < kPieceBytes && Differs(end, unnamed)) ++end;
      pieces_.push_back({base + i * kPageBytes, (end - i) * kPageBytes});
      i = end - 1;
    }
  }

  pid_t source_, target_;
  std::vector<uint64_t> their_pages_, my_pages_;
  std::vector<Piece> pieces_;
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

Result<> Copy(const RemoteMemory& from, const RemoteMemory& to, const std::vector<Pieces>& batches,
              size_t first, size_t step) {
  std::vector<char> buffer(kPieceBytes);
  for (size_t i = first; i < batches.size(); i += step) {
    SPORE_TRY(from.Read(batches[i], buffer.data()));
    SPORE_TRY(to.Write(batches[i], buffer.data()));
  }
  return {};
}

size_t HandsFor(size_t bytes) {
  cpu_set_t cpus;
  const size_t can = sched_getaffinity(0, sizeof cpus, &cpus) == 0
                         ? static_cast<size_t>(CPU_COUNT(&cpus))
                         : size_t{1};
  return std::clamp<size_t>(bytes / kShareBytes, 1, std::min(can, kMostHands));
}

// Several copy at once, each every so manyth batch.
Result<> CopyTogether(const RemoteMemory& from, const RemoteMemory& to,
                      const std::vector<Pieces>& batches, size_t hands) {
  std::vector<pid_t> others;
  for (size_t hand = 1; hand < hands; ++hand) {
    const pid_t pid = CloneProcess({.exit_signal = SIGCHLD}, nullptr);
    if (pid < 0) break;
    if (pid == 0) {
      (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
      _exit(Copy(from, to, batches, hand, hands) ? 0 : 1);
    }
    others.push_back(pid);
  }
  // Those that could not be made are done here.
  Result<> done = Copy(from, to, batches, 0, hands);
  for (size_t hand = others.size() + 1; hand < hands && done; ++hand)
    done = Copy(from, to, batches, hand, hands);
  for (const pid_t pid : others) {
    int status = 0;
    if (TEMP_FAILURE_RETRY(waitpid(pid, &status, 0)) < 0 || status != 0)
      done = MakeError(ErrorKind::kOverloaded, "its memory could not be copied",
                       "the session's limit memory");
  }
  if (!done) done.error().kind = ErrorKind::kOverloaded;  // as a rule, of memory
  return done;
}

}  // namespace

Result<uint64_t> CopyPages(pid_t source, const RemoteMemory& from,
                           const std::vector<Mapping>& mappings, const Workbench& target) {
  SPORE_ASSIGN(const std::vector<Piece> pieces, Difference(source, target.pid).Find(mappings));
  uint64_t bytes = 0;
  for (const Piece& piece : pieces) bytes += piece.bytes;
  SPORE_TRY(CopyTogether(from, target.memory, Batches(pieces), HandsFor(bytes)));
  return bytes;
}

}  // namespace spore
