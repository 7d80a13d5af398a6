#include "tools/spore/sandbox_terminal.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <string>

#include "tools/client/memfd.h"

namespace spore::cli {
namespace {

constexpr std::size_t kChunk = std::size_t{16} << 10;
// What the program has left in the terminal is there at once.
constexpr int kQuietMs = 100;
constexpr char kEndOfFile = 4;  // VEOF of a terminal as it comes

client::Fd CatchSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGWINCH, SIGTERM, SIGHUP}) sigaddset(&signals, signal);
  ::sigprocmask(SIG_BLOCK, &signals, nullptr);
  return client::Fd(::signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK));
}

}  // namespace

Expected<SandboxTerminal> SandboxTerminal::Make() {
  SandboxTerminal terminal;
  terminal.master_.Reset(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
  const auto fail = [] {
    return Fail(kSporeFailed, std::string("cannot make a terminal: ") + std::strerror(errno));
  };
  if (!terminal.master_.valid() || ::grantpt(terminal.master_.get()) != 0 ||
      ::unlockpt(terminal.master_.get()) != 0) {
    return fail();
  }
  // By number, not by name: /dev/pts may be another one's here.
  terminal.slave_.Reset(
      ::ioctl(terminal.master_.get(), TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC));
  // A program that writes, and reads nothing of what is typed, must not stop us.
  if (!terminal.slave_.valid() || ::fcntl(terminal.master_.get(), F_SETFL, O_NONBLOCK) != 0)
    return fail();
  terminal.signals_ = CatchSignals();
  terminal.CopySize();
  return terminal;
}

SandboxTerminal::~SandboxTerminal() {
  if (before_) ::tcsetattr(STDIN_FILENO, TCSADRAIN, &*before_);
}

void SandboxTerminal::CopySize() {
  winsize size{};
  // The kernel tells the program of a change.
  if (::ioctl(STDIN_FILENO, TIOCGWINSZ, &size) == 0) ::ioctl(master_.get(), TIOCSWINSZ, &size);
}

void SandboxTerminal::EnterRaw() {
  termios now{};
  if (::tcgetattr(STDIN_FILENO, &now) != 0) return;
  before_ = now;
  ::cfmakeraw(&now);
  ::tcsetattr(STDIN_FILENO, TCSADRAIN, &now);
}

SandboxTerminal::Copied SandboxTerminal::CopyOut() {
  std::array<char, kChunk> buffer;
  const ssize_t got = ::read(master_.get(), buffer.data(), buffer.size());
  if (got < 0 && (errno == EINTR || errno == EAGAIN)) return Copied::kSome;
  // EIO: nobody has the slave any more.
  if (got <= 0) return Copied::kEnd;
  return client::WriteAll(STDOUT_FILENO, {buffer.data(), static_cast<std::size_t>(got)}, "output")
             ? Copied::kSome
             : Copied::kLost;
}

SandboxTerminal::Copied SandboxTerminal::CopyIn() {
  std::array<char, kChunk> buffer;
  const ssize_t got = ::read(STDIN_FILENO, buffer.data(), buffer.size());
  if (got < 0 && (errno == EINTR || errno == EAGAIN)) return Copied::kSome;
  // A raw terminal has no end of file: ours is gone. We may not be told by a signal.
  if (got <= 0 && before_) return Copied::kLost;
  got > 0 ? pending_.append(buffer.data(), static_cast<std::size_t>(got)) : pending_ += kEndOfFile;
  Type();
  return got > 0 ? Copied::kSome : Copied::kEnd;
}

void SandboxTerminal::Type() {
  const ssize_t taken = ::write(master_.get(), pending_.data(), pending_.size());
  if (taken > 0) pending_.erase(0, static_cast<std::size_t>(taken));
}

int SandboxTerminal::TakeSignal() {
  signalfd_siginfo info{};
  if (::read(signals_.get(), &info, sizeof info) != sizeof info) return 0;
  if (info.ssi_signo != SIGWINCH) return static_cast<int>(info.ssi_signo);
  CopySize();
  return 0;
}

int SandboxTerminal::Relay(int connection, bool interactive) {
  if (interactive) EnterRaw();
  bool reads_input = interactive, answered = false, open = true;
  // A program may close its terminal and go on; its end is waited for.
  while (open || !answered) {
    const bool takes = reads_input && pending_.empty();
    const auto master_events = static_cast<short>(pending_.empty() ? POLLIN : POLLIN | POLLOUT);
    std::array<pollfd, 4> polled{{{takes ? STDIN_FILENO : -1, POLLIN, 0},
                                  {open ? master_.get() : -1, master_events, 0},
                                  {answered ? -1 : connection, POLLIN, 0},
                                  {signals_.get(), POLLIN, 0}}};
    const int ready = ::poll(polled.data(), polled.size(), answered ? kQuietMs : -1);
    if (ready == 0) break;
    if (ready < 0) continue;
    if (polled[3].revents != 0) {
      if (const int signal = TakeSignal(); signal != 0) return signal;
    }
    if ((polled[1].revents & POLLOUT) != 0) Type();
    if ((polled[1].revents & ~POLLOUT) != 0) {
      const Copied copied = CopyOut();
      if (copied == Copied::kLost) return SIGHUP;
      open = copied == Copied::kSome;
      if (!open) pending_.clear();
    }
    if (polled[2].revents != 0) answered = true;
    if (polled[0].revents != 0) {
      const Copied copied = CopyIn();
      // Once it is answered, our terminal's end takes nothing from the answer.
      if (copied == Copied::kLost && !answered) return SIGHUP;
      reads_input = copied == Copied::kSome;
    }
  }
  return 0;
}

}  // namespace spore::cli
