#include "tools/spore/relay.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

namespace spore::cli {
namespace {

constexpr std::size_t kChunk = std::size_t{64} << 10;
// A dead script writes no more: whatever it left is in the pipes at once.
constexpr int kQuietMs = 100;

bool Again(int error) {
  return error == EAGAIN || error == EWOULDBLOCK || error == EINTR;
}

}  // namespace

Pump::Pump(Side side, client::Fd ours, int foreign)
    : side_(side), ours_(std::move(ours)), foreign_(foreign) {
  if (!ours_.valid()) {
    ended_ = true;
    return;
  }
  ::fcntl(ours_.get(), F_SETFL, ::fcntl(ours_.get(), F_GETFL) | O_NONBLOCK);
  struct stat info {};
  // poll(2) promises room for PIPE_BUF bytes and no more; a larger write to a blocking descriptor
  // could hold up the other directions. Files never block for long.
  small_writes_ =
      side == Side::kFromScript && (::fstat(foreign, &info) != 0 || !S_ISREG(info.st_mode));
}

void Pump::Close() {
  buffer_.clear();
  ended_ = true;
  ours_.Reset();
}

void Pump::Read() {
  buffer_.resize(kChunk);
  const ssize_t got = ::read(From(), buffer_.data(), buffer_.size());
  const int error = errno;
  buffer_.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
  if (got > 0 || (got < 0 && Again(error))) return;
  // The end; an error (EIO of a terminal that is no longer ours, EISDIR) is one too.
  Close();
}

void Pump::Write() {
  const std::size_t bytes =
      small_writes_ ? std::min<std::size_t>(buffer_.size(), PIPE_BUF) : buffer_.size();
  const ssize_t done = ::write(To(), buffer_.data(), bytes);
  if (done >= 0) {
    buffer_.erase(0, static_cast<std::size_t>(done));
    return;
  }
  if (Again(errno)) return;
  if (side_ == Side::kFromScript && errno != EPIPE) write_error_ = errno;
  Close();
}

Relay::Relay(client::Fd stdin_end, client::Fd stdout_end, client::Fd stderr_end, int signal_fd)
    : in_(Pump::Side::kToScript, std::move(stdin_end), STDIN_FILENO),
      out_(Pump::Side::kFromScript, std::move(stdout_end), STDOUT_FILENO),
      err_(Pump::Side::kFromScript, std::move(stderr_end), STDERR_FILENO),
      signal_fd_(signal_fd) {}

void Relay::ServePumps(const pollfd* polled) {
  for (Pump* pump : {&in_, &out_, &err_}) {
    if (polled[0].revents != 0) pump->Read();
    if (polled[1].revents != 0) pump->Write();
    polled += 2;
  }
}

Relay::Wake Relay::Step(int connection, int timeout_ms, RelayEnd& end, bool& answered) {
  const bool draining = connection < 0;
  std::array<pollfd, 8> polled{{
      {draining ? -1 : in_.PollIn(), POLLIN, 0},
      {draining ? -1 : in_.PollOut(), POLLOUT, 0},
      {out_.PollIn(), POLLIN, 0},
      {out_.PollOut(), POLLOUT, 0},
      {err_.PollIn(), POLLIN, 0},
      {err_.PollOut(), POLLOUT, 0},
      {connection, POLLIN, 0},
      {signal_fd_, POLLIN, 0},
  }};
  const int ready = ::poll(polled.data(), polled.size(), timeout_ms);
  if (ready < 0) return Wake::kMore;  // EINTR
  if (ready == 0) return Wake::kQuiet;
  if (polled[7].revents != 0) {
    signalfd_siginfo info{};
    if (::read(signal_fd_, &info, sizeof info) == sizeof info) {
      end.signal = static_cast<int>(info.ssi_signo);
      return Wake::kSignal;
    }
  }
  ServePumps(polled.data());
  end.output_error = std::max(out_.write_error(), err_.write_error());
  answered = polled[6].revents != 0;
  return Wake::kMore;
}

RelayEnd Relay::RunUntilAnswer(int connection) {
  RelayEnd end;
  bool answered = false;
  while (!answered && Step(connection, -1, end, answered) != Wake::kSignal) {
  }
  return end;
}

RelayEnd Relay::Drain() {
  RelayEnd end;
  bool answered = false;
  while (!out_.done() || !err_.done()) {
    // A slow reader on our side may take its time; an empty pipe that stays open may not.
    const bool waiting_for_reader = out_.has_buffered() || err_.has_buffered();
    const Wake wake = Step(-1, waiting_for_reader ? -1 : kQuietMs, end, answered);
    if (wake != Wake::kMore) break;
  }
  end.output_error = std::max(out_.write_error(), err_.write_error());
  return end;
}

}  // namespace spore::cli
