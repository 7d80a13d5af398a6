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
  if (!terminal.slave_.valid()) return fail();
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

bool SandboxTerminal::CopyOut() {
  std::array<char, kChunk> buffer;
  const ssize_t got = ::read(master_.get(), buffer.data(), buffer.size());
  if (got < 0 && (errno == EINTR || errno == EAGAIN)) return true;
  // EIO: nobody has the slave any more.
  if (got <= 0) return false;
  return client::WriteAll(STDOUT_FILENO, {buffer.data(), static_cast<std::size_t>(got)}, "output")
      .has_value();
}

int SandboxTerminal::Relay(int connection, bool interactive) {
  if (interactive) EnterRaw();
  bool reads_input = interactive, answered = false, open = true;
  while (open) {
    std::array<pollfd, 4> polled{{{reads_input ? STDIN_FILENO : -1, POLLIN, 0},
                                  {master_.get(), POLLIN, 0},
                                  {answered ? -1 : connection, POLLIN, 0},
                                  {signals_.get(), POLLIN, 0}}};
    const int ready = ::poll(polled.data(), polled.size(), answered ? kQuietMs : -1);
    if (ready == 0) break;
    if (ready < 0) continue;
    if (polled[3].revents != 0) {
      signalfd_siginfo info{};
      if (::read(signals_.get(), &info, sizeof info) == sizeof info) {
        if (info.ssi_signo != SIGWINCH) return static_cast<int>(info.ssi_signo);
        CopySize();
      }
    }
    if (polled[1].revents != 0) open = CopyOut();
    if (polled[2].revents != 0) answered = true;
    if (polled[0].revents == 0) continue;
    std::array<char, kChunk> buffer;
    const ssize_t got = ::read(STDIN_FILENO, buffer.data(), buffer.size());
    reads_input = got > 0 || (got < 0 && errno == EINTR);
    if (got > 0) {
      (void)client::WriteAll(master_.get(), {buffer.data(), static_cast<std::size_t>(got)},
                             "input");
    } else if (!reads_input) {
      (void)client::WriteAll(master_.get(), {&kEndOfFile, 1}, "input");
    }
  }
  if (answered) return 0;
  // The program has closed its terminal; its end is still to be told.
  pollfd waiting{connection, POLLIN, 0};
  while (::poll(&waiting, 1, -1) < 0 && errno == EINTR) {
  }
  return 0;
}

}  // namespace spore::cli
