#include "zygote/branch/huge_pages.h"

#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <string>
#include <utility>

namespace spore {
namespace {

constexpr int kCollapse = 25;  // MADV_COLLAPSE, Linux 6.1

bool IsSystemsWish() {
  std::ifstream file("/sys/kernel/mm/transparent_hugepage/enabled");
  std::string line;
  return std::getline(file, line) && line.find("[never]") == line.npos;
}

}  // namespace

std::vector<Piece> HugeRuns(std::span<const Piece> pieces) {
  std::vector<Piece> runs;
  for (size_t i = 0; i < pieces.size();) {
    const uintptr_t begin = pieces[i].begin;
    uintptr_t end = begin;
    for (; i < pieces.size() && pieces[i].begin == end; ++i) end += pieces[i].bytes;
    const uintptr_t first = (begin + kHugeBytes - 1) & ~(kHugeBytes - 1);
    const uintptr_t last = end & ~(kHugeBytes - 1);
    if (first < last) runs.push_back({first, last - first});
  }
  return runs;
}

void HugePages::Make(std::span<const Piece> runs) {
  if (runs.empty()) return;
  if (!std::exchange(asked_, true)) wanted_ = IsSystemsWish();
  // The kernel makes a large page of what is there, so something has to be there.
  std::vector<Piece> firsts;
  for (const Piece& run : runs)
    for (size_t at = 0; at < run.bytes; at += kHugeBytes) firsts.push_back({run.begin + at, 1});
  const std::vector<char> nothing(kMostPieces);
  for (size_t at = 0; wanted_ && at < firsts.size(); at += kMostPieces) {
    const size_t count = std::min(kMostPieces, firsts.size() - at);
    if (!memory_.Write(std::span(firsts).subspan(at, count), nothing.data())) return;
  }
  for (size_t i = 0; wanted_ && i < runs.size(); ++i) {
    const iovec run{reinterpret_cast<void*>(runs[i].begin), runs[i].bytes};
    if (syscall(SYS_process_madvise, pidfd_, &run, 1, kCollapse, 0) >= 0) continue;
    // Those of one mapping may be in the way; a limit, or a kernel without, is for all.
    wanted_ = errno == EINVAL || errno == EAGAIN || errno == EBUSY;
  }
}

}  // namespace spore
