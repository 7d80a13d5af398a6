#include "zygote/hosts/common/working_set.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <memory>

#include "zygote/hosts/common/channel.h"
#include "zygote/hosts/common/confine.h"
#include "zygote/protocol.h"

// Since Linux 5.14; for older headers.
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif

namespace spore {
namespace {

constexpr int kPatienceMs = 20'000;
constexpr uint64_t kPage = 4096;

struct Mapping {
  uint64_t begin = 0, end = 0;
  bool writable = false;
  bool flat = false;  // of the file that the zygote's memory was moved into
};

struct FileCloser {
  void operator()(FILE* file) const { fclose(file); }
};

// Private mappings that can be read, ascending.
std::vector<Mapping> PrivateMappings() {
  std::unique_ptr<FILE, FileCloser> maps(fopen("/proc/self/maps", "re"));
  std::vector<Mapping> mappings;
  char line[512];
  while (maps && fgets(line, sizeof line, maps.get()) != nullptr) {
    Mapping mapping;
    char access[5] = {};
    unsigned long inode = 0;
    if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s %*s %*s %lu", &mapping.begin, &mapping.end,
               access, &inode) != 4) {
      continue;
    }
    if (access[0] != 'r' || access[3] != 'p') continue;
    mapping.writable = access[1] == 'w';
    mapping.flat = strstr(line, "/memfd:spore-zygote") != nullptr;
    mappings.push_back(mapping);
  }
  return mappings;
}

void AddPage(std::vector<PageRange>& ranges, uint64_t address, bool written) {
  if (!ranges.empty() && ranges.back().end == address && (ranges.back().written != 0) == written) {
    ranges.back().end += kPage;
  } else {
    ranges.push_back({address, address + kPage, written ? 1u : 0u});
  }
}

// Pages that are this process's alone (it has written to them), and pages of files that it has
// mapped; fork(2) leaves those out of a child's page table. So it does, of a flat zygote, with the
// page of zeros where that was read in memory without content: what is left there is little else.
std::vector<PageRange> TouchedPages() {
  constexpr uint64_t kPresent = 1ull << 63, kOfFile = 1ull << 61, kExclusive = 1ull << 56;
  UniqueFd pagemap(open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC));
  std::vector<PageRange> ranges;
  std::vector<uint64_t> entries(4096);
  const std::vector<Mapping> mappings = PrivateMappings();
  const bool flat =
      std::any_of(mappings.begin(), mappings.end(), [](const Mapping& m) { return m.flat; });
  for (const Mapping& mapping : mappings) {
    for (uint64_t at = mapping.begin; at < mapping.end;) {
      const uint64_t pages = std::min<uint64_t>(entries.size(), (mapping.end - at) / kPage);
      const auto offset = static_cast<off_t>(at / kPage * sizeof(uint64_t));
      const ssize_t got = pread(pagemap.get(), entries.data(), pages * sizeof(uint64_t), offset);
      if (got <= 0) break;
      for (size_t i = 0; i < static_cast<size_t>(got) / sizeof(uint64_t); ++i, at += kPage) {
        if ((entries[i] & kPresent) == 0) continue;
        const bool of_file = (entries[i] & kOfFile) != 0;
        const bool written = !of_file && (entries[i] & kExclusive) != 0;
        if (written || of_file || flat) AddPage(ranges, at, written);
      }
    }
  }
  return ranges;
}

bool WaitReadable(int fd) {
  pollfd waiting{fd, POLLIN, 0};
  return TEMP_FAILURE_RETRY(poll(&waiting, 1, kPatienceMs)) == 1;
}

// The child's answer to the invocation; true when it is a result. `text`: else what it said.
bool AwaitResponse(int channel, std::string* text) {
  for (;;) {
    if (!WaitReadable(channel)) return false;
    std::optional<HostFrame> frame = ReadFrame(channel);
    if (!frame) return false;
    *text = std::move(frame->body);
    if (frame->type != wire::FrameType::kLoaded) return frame->type == wire::FrameType::kResponse;
  }
}

Result<> Question(int channel, const std::string& load, const std::string& invoke) {
  std::string text = "it ended without an answer, or gave none in time";
  if (!WriteFrame(channel, wire::FrameType::kLoad, 0, load.data(), load.size()) ||
      !WriteFrame(channel, wire::FrameType::kInvoke, 1, invoke.data(), invoke.size()) ||
      !AwaitResponse(channel, &text) ||
      !WriteFrame(channel, wire::FrameType::kReportPages, 0, nullptr, 0)) {
    return MakeError(ErrorKind::kPrecondition, "a child made for trial failed: " + text);
  }
  return {};
}

Result<std::vector<PageRange>> ReadReport(int channel) {
  uint64_t count = 0;
  if (!WaitReadable(channel) || !ReadExactly(channel, &count, sizeof count))
    return MakeError(ErrorKind::kPrecondition, "a child made for trial did not tell its pages");
  std::vector<PageRange> ranges(std::min<uint64_t>(count, 1 << 20));
  if (!ReadExactly(channel, ranges.data(), ranges.size() * sizeof ranges[0]))
    return MakeError(ErrorKind::kPrecondition, "a child made for trial did not tell its pages");
  return ranges;
}

// In the child: the channel becomes its instance socket.
StepResult BecomeRehearsal(const FrozenProcess& process, int channel, bool with_threads,
                           const SeccompProgram* trial) {
  if (StepResult r = process.Adopt(); !r.ok()) return r;
  if (StepResult r = process.RenewDescriptors(); !r.ok()) return r;
  if (dup2(channel, kInstanceFd) < 0) return StepFailed("dup2");
  if (close_range(static_cast<unsigned>(channel), static_cast<unsigned>(channel), 0) < 0)
    return StepFailed("close");
  if (trial != nullptr) {
    if (const int error = LoadSeccompProgram(*trial); error < 0)
      return {-error, "load the seccomp filter"};
  }
  return with_threads ? process.ReviveThreads() : StepOk();
}

}  // namespace

Result<bool> WorkingSet::Rehearse(const FrozenProcess& process, const std::string& load,
                                  const std::string& invoke, const SeccompProgram* trial) {
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) return SysError("socketpair");
  UniqueFd ours(pair[0]), theirs(pair[1]);
  SPORE_ASSIGN(const pid_t pid, process.Clone({.extra_descriptors = 2}, nullptr));
  if (pid == 0) {
    (void)ours.Release();  // open in the child too, and of no harm: it ends with the rehearsal
    const StepResult became = BecomeRehearsal(process, theirs.Release(), !load.empty(), trial);
    if (!became.ok()) _exit(1);
    return true;
  }
  theirs.Reset();
  Result<> asked;
  if (!load.empty()) asked = Question(ours.get(), load, invoke);
  Result<std::vector<PageRange>> touched =
      asked ? ReadReport(ours.get()) : tl::unexpected(std::move(asked).error());
  kill(pid, SIGKILL);
  if (TEMP_FAILURE_RETRY(waitpid(pid, nullptr, __WALL)) < 0) return SysError("wait for a child");
  if (!touched) return tl::unexpected(std::move(touched).error());
  // Only what is there now: the child has mapped more.
  for (const Mapping& mapping : PrivateMappings()) {
    for (const PageRange& range : *touched) {
      const PageRange cut{std::max(range.begin, mapping.begin), std::min(range.end, mapping.end),
                          range.written};
      if (cut.begin >= cut.end || (cut.written != 0 && !mapping.writable)) continue;
      ranges_.push_back(cut);
    }
  }
  return false;
}

void WorkingSet::Populate() const {
  for (const PageRange& range : ranges_) {
    madvise(reinterpret_cast<void*>(range.begin), range.end - range.begin,
            range.written != 0 ? MADV_POPULATE_WRITE : MADV_POPULATE_READ);
  }
}

size_t WorkingSet::pages() const {
  size_t pages = 0;
  for (const PageRange& range : ranges_) pages += (range.end - range.begin) / kPage;
  return pages;
}

void ReportWorkingSet(int channel) {
  const std::vector<PageRange> ranges = TouchedPages();
  const uint64_t count = ranges.size();
  std::string text(reinterpret_cast<const char*>(&count), sizeof count);
  text.append(reinterpret_cast<const char*>(ranges.data()), ranges.size() * sizeof ranges[0]);
  for (size_t at = 0; at < text.size();) {
    const ssize_t sent = send(channel, text.data() + at, text.size() - at, MSG_NOSIGNAL);
    if (sent <= 0) _exit(1);
    at += static_cast<size_t>(sent);
  }
  _exit(0);
}

}  // namespace spore
