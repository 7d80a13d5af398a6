#include "zygote/sfork/trial.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <link.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/rseq.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <string_view>

#include "sandbox/sys/clone.h"
#include "sandbox/sys/unique_fd.h"
#include "zygote/sfork/arch.h"
#include "zygote/sfork/proc_text.h"

namespace spore {
namespace {

// What the child has come through is how far its last report says.
struct Report {
  enum Stage : uint32_t { kBegun, kMalloc, kLoader, kDone };
  uint32_t stage = kBegun;
  uint32_t rseq_length = 0;
};

// Where the child cannot be watched, this decides: long enough for a loaded machine.
constexpr int kPatienceMs = 10'000;
constexpr int kLookMs = 20;

// glibc does not say with which length it registers; the kernel says whether a guess was right, by
// undoing the registration. The child has no other use for it.
uint32_t FindRseqLength() {
  if (__rseq_size == 0) return 0;
  const long area = reinterpret_cast<long>(__builtin_thread_pointer()) + __rseq_offset;
  for (uint32_t length = 20; length <= 4096; length += 4) {
    if (arch::RawSyscall(SYS_rseq, area, length, RSEQ_FLAG_UNREGISTER, RSEQ_SIG) == 0)
      return length;
  }
  return 0;
}

[[noreturn]] void InChild(int report_fd) {
  Report report;
  const auto send = [&](Report::Stage stage) {
    report.stage = stage;
    if (write(report_fd, &report, sizeof report) != sizeof report) _exit(1);
  };
  send(Report::kMalloc);
  // mallinfo2 walks all arenas and locks each; the sizes are of the thread cache, of an arena, and
  // mapped. For another allocator than glibc's the latter alone count.
  (void)mallinfo2();
  for (const size_t size : {size_t{24}, size_t{5000}, size_t{1} << 21}) free(malloc(size));
  send(Report::kLoader);
  dl_iterate_phdr([](dl_phdr_info*, size_t, void*) { return 0; }, nullptr);
  if (void* self = dlopen(nullptr, RTLD_NOW)) dlclose(self);
  report.rseq_length = FindRseqLength();
  send(Report::kDone);
  _exit(0);
}

// The child is alone in its process: nobody will ever end a sleep of its on a lock.
bool SleepsOnALock(pid_t pid) {
  constexpr std::string_view kProc = "/proc/", kFile = "/syscall";
  char path[64] = {};
  memcpy(path, kProc.data(), kProc.size());
  char* end = std::to_chars(path + kProc.size(), path + sizeof path, pid).ptr;
  memcpy(end, kFile.data(), kFile.size());
  ProcText text;
  return text.Read(path) && !text.StartsWith("running") &&
         strtol(text.data(), nullptr, 10) == SYS_futex && !text.empty();
}

// Reads reports until the last, the child's end, or until it hangs.
Report Await(pid_t pid, int report_fd) {
  Report last;
  for (int waited = 0; waited < kPatienceMs;) {
    pollfd wait{.fd = report_fd, .events = POLLIN, .revents = 0};
    const int ready = poll(&wait, 1, kLookMs);
    if (ready < 0 && errno != EINTR) return last;
    if (ready <= 0) {
      waited += kLookMs;
      if (SleepsOnALock(pid) && poll(&wait, 1, 0) == 0) return last;
      continue;
    }
    Report next;
    if (read(report_fd, &next, sizeof next) != sizeof next) return last;
    last = next;
    if (last.stage == Report::kDone) return last;
  }
  return last;
}

}  // namespace

bool RunTrial(int32_t* tid_address, TrialFindings* findings, const char** hung_at) {
  *hung_at = nullptr;
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) < 0) return false;
  UniqueFd reader(ends[0]), writer(ends[1]);
  // No exit signal: the program's SIGCHLD handler is not to hear of this child.
  const pid_t pid = CloneProcess({.child_tid = tid_address}, nullptr);
  if (pid < 0) return false;
  if (pid == 0) InChild(writer.get());
  writer.Reset();
  const Report report = Await(pid, reader.get());
  kill(pid, SIGKILL);
  while (waitpid(pid, nullptr, __WALL) < 0 && errno == EINTR) continue;
  findings->rseq_length = report.rseq_length;
  switch (report.stage) {
    case Report::kDone:
      return true;
    case Report::kMalloc:
      *hung_at = "malloc's lock";
      return false;
    case Report::kLoader:
      *hung_at = "the dynamic loader's lock";
      return false;
    default:
      *hung_at = "the trial child's start";
      return false;
  }
}

}  // namespace spore
