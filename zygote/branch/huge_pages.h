// Memory of another process in large pages, before it is written to: one fault in place of 512, and
// the same charge, for ranges that will be written to the last byte.
#pragma once

#include <span>
#include <vector>

#include "zygote/branch/process_maps.h"
#include "zygote/branch/remote_memory.h"

namespace spore {

constexpr size_t kHugeBytes = 2 << 20;

// The runs of whole large pages that adjacent pieces (ascending) of one mapping cover together.
std::vector<Piece> HugeRuns(std::span<const Piece> pieces);

// No mapping gets a flag, and none is split (MADV_COLLAPSE, from outside), as MADV_HUGEPAGE would:
// what the process does with its memory later has the effects that it had before.
class HugePages {
 public:
  // None are made where the system's setting is "never".
  HugePages(int pidfd, const RemoteMemory& memory) : pidfd_(pidfd), memory_(memory) {}
  // What each run has at first may be changed. Where it does not succeed, pages are small.
  void Make(std::span<const Piece> runs);

 private:
  int pidfd_;
  const RemoteMemory& memory_;
  bool asked_ = false, wanted_ = false;
};

}  // namespace spore
