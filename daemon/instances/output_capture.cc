#include "daemon/instances/output_capture.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <limits>

namespace spore {
namespace {

constexpr size_t kReadBytes = 64u << 10;
constexpr size_t kReadAtOnce = 256u << 10;  // then other instances get their turn
constexpr size_t kDrainAtMost = 1u << 20;
// Beyond the budget output is thrown away unread, this much each time: a function that writes
// without end is slowed down instead of occupying the daemon.
constexpr size_t kDiscardBytes = 1u << 20;
constexpr int kDiscardPipeBytes = 512 << 10;
constexpr auto kDiscardEvery = std::chrono::milliseconds(5);

}  // namespace

// A pipe belongs to who made it, with mode 0600. Another uid than that may open it anew only where
// others may write. Not given to that uid (fchown(2)): then it could be opened for reading too.
Result<> LetReopenForWriting(int pipe) {
  if (fchmod(pipe, 0622) != 0) return SysError("chmod a pipe");
  return {};
}

OutputCapture::OutputCapture(EventLoop& loop, Emit emit)
    : loop_(loop), emit_(std::move(emit)), alive_(std::make_shared<bool>(true)) {}

OutputCapture::~OutputCapture() {
  *alive_ = false;
  if (discard_timer_ != 0) loop_.CancelTimer(discard_timer_);
  for (Source& source : sources_) source.watch.reset();
}

Result<OutputCapture::Pipes> OutputCapture::Open() {
  std::array<UniqueFd, 2> write_ends;
  for (size_t i = 0; i < sources_.size(); ++i) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) return SysError("make a pipe");
    Source& source = sources_[i];
    source.fd.Reset(ends[0]);
    write_ends[i].Reset(ends[1]);
    if (fcntl(ends[0], F_SETFL, O_NONBLOCK) != 0) return SysError("set O_NONBLOCK");
    SPORE_TRY(LetReopenForWriting(ends[1]));
    source.stream = i == 0 ? v1::LogLine::STDOUT : v1::LogLine::STDERR;
    // The budget is counted here, for both streams together.
    source.lines = std::make_unique<LineSplitter>(
        std::numeric_limits<uint64_t>::max(),
        [this, stream = source.stream](std::string_view line) { emit_(stream, line); });
    source.watch = loop_.WatchReadable(ends[0], [this, &source] { Read(source); });
  }
  return Pipes{std::move(write_ends[0]), std::move(write_ends[1])};
}

void OutputCapture::BeginInvocation(uint64_t budget_bytes) {
  budget_ = budget_bytes;
  if (!cut_) return;
  cut_ = false;
  if (discard_timer_ != 0) loop_.CancelTimer(discard_timer_);
  discard_timer_ = 0;
  for (Source& source : sources_) {
    if (!source.fd) continue;
    source.watch = loop_.WatchReadable(source.fd.get(), [this, &source] { Read(source); });
  }
}

void OutputCapture::Read(Source& source) {
  size_t allowance = kReadAtOnce;
  while (ReadOnce(source, allowance)) {
  }
  if (allowance > 0 || cut_ || source.again || !source.fd) return;
  source.again = true;
  loop_.Post([this, &source, alive = alive_] {
    if (!*alive) return;
    source.again = false;
    Read(source);
  });
}

// False: nothing more now.
bool OutputCapture::ReadOnce(Source& source, size_t& allowance) {
  if (!source.fd || cut_ || allowance == 0) return false;
  std::array<char, kReadBytes> buffer;
  const ssize_t size = read(source.fd.get(), buffer.data(), std::min(buffer.size(), allowance));
  if (size < 0) return errno == EINTR;
  if (size == 0) {
    source.watch.reset();
    source.fd.Reset();
    return false;
  }
  allowance -= static_cast<size_t>(size);
  Take(source, {buffer.data(), static_cast<size_t>(size)});
  return true;
}

void OutputCapture::Take(Source& source, std::string_view bytes) {
  const size_t kept = std::min<uint64_t>(bytes.size(), budget_);
  budget_ -= kept;
  source.lines->Feed(bytes.substr(0, kept));
  if (kept == bytes.size()) return;
  cut_ = true;
  for (Source& other : sources_) {
    other.lines->Finish();
    other.watch.reset();
    // More goes at a time. Without the larger pipe its writer only waits longer.
    if (other.fd) (void)fcntl(other.fd.get(), F_SETPIPE_SZ, kDiscardPipeBytes);
  }
  emit_(v1::LogLine::SYSTEM, "output cut off: the limit of this invocation is reached");
  Discard();
}

// splice(2) to /dev/null drops the pipe's pages without copying them. False: there was nothing.
bool OutputCapture::DiscardFrom(Source& source) {
  bool found = false;
  size_t left = kDiscardBytes;
  while (source.fd && left > 0) {
    const ssize_t size =
        splice(source.fd.get(), nullptr, null_.get(), nullptr, left, SPLICE_F_NONBLOCK);
    if (size == 0) {
      source.watch.reset();
      source.fd.Reset();
    }
    // An error (no descriptor was left for /dev/null) is tried again later.
    if (size < 0) return found || errno != EAGAIN;
    found = true;
    left -= std::min(left, static_cast<size_t>(size));
  }
  return found;
}

// Every few milliseconds while anything comes, and then not before something comes again: what
// waits without writing wakes nobody.
void OutputCapture::Discard() {
  discard_timer_ = 0;
  if (!null_) null_.Reset(open("/dev/null", O_WRONLY | O_CLOEXEC));
  bool found = false;
  for (Source& source : sources_) {
    source.watch.reset();
    found = DiscardFrom(source) || found;
  }
  if (found) {
    discard_timer_ = loop_.AddTimer(kDiscardEvery, [this] { Discard(); });
    return;
  }
  for (Source& source : sources_) {
    if (source.fd) source.watch = loop_.WatchReadable(source.fd.get(), [this] { Discard(); });
  }
}

void OutputCapture::Drain() {
  for (Source& source : sources_) {
    size_t allowance = kDrainAtMost;
    while (ReadOnce(source, allowance)) {
    }
  }
}

void OutputCapture::Finish() {
  Drain();
  for (Source& source : sources_) {
    if (source.lines) source.lines->Finish();
  }
}

}  // namespace spore
