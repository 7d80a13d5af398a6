#include "zygote/branch/hands.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <memory>
#include <new>
#include <utility>

#include "sandbox/sys/clone.h"

namespace spore {
namespace {

// Of all processes.
struct Counts {
  std::atomic<size_t> taken{0}, done{0};
};

using SharedCounts = std::unique_ptr<Counts, void (*)(Counts*)>;

SharedCounts Share() {
  void* const page =
      mmap(nullptr, sizeof(Counts), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  return {page == MAP_FAILED ? nullptr : new (page) Counts,
          [](Counts* counts) { munmap(counts, sizeof *counts); }};
}

Hands::Take Taking(Counts& counts, size_t shares) {
  return [&counts, shares, busy = false]() mutable -> std::optional<size_t> {
    if (busy) ++counts.done;
    const size_t next = counts.taken++;
    busy = next < shares;
    return busy ? std::optional(next) : std::nullopt;
  };
}

}  // namespace

Result<Hands> Hands::Do(size_t shares, size_t hands, const Work& work) {
  const SharedCounts counts = Share();
  if (!counts) return SysError("map a page");
  Hands all;
  for (size_t hand = 1; hand < hands; ++hand) {
    const pid_t pid = CloneProcess({.exit_signal = SIGCHLD}, nullptr);
    if (pid < 0) break;  // there is less help
    if (pid == 0) {
      (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
      _exit(work(Taking(*counts, shares)) ? 0 : 1);
    }
    all.others_.push_back(pid);
  }
  SPORE_TRY(work(Taking(*counts, shares)));
  while (counts->done < shares && !all.others_.empty()) {
    (void)TEMP_FAILURE_RETRY(waitpid(all.others_.back(), nullptr, 0));
    all.others_.pop_back();
  }
  if (counts->done < shares)
    return MakeError(ErrorKind::kOverloaded, "a process that does a part of it has failed");
  return all;
}

Hands& Hands::operator=(Hands&& other) noexcept {
  std::swap(others_, other.others_);
  return *this;
}

Hands::~Hands() {
  for (const pid_t pid : others_) (void)TEMP_FAILURE_RETRY(waitpid(pid, nullptr, 0));
}

}  // namespace spore
