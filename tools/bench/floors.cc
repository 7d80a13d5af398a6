#include "tools/bench/floors.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <utility>

#include "tools/bench/process.h"
#include "tools/bench/samples.h"

namespace spore::bench {
namespace {

constexpr std::size_t kMessageBytes = 64;
using Message = std::array<char, kMessageBytes>;
using Pair = std::pair<client::Fd, client::Fd>;

client::Result<Pair> MakePair() {
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) {
    return client::LocalError("cannot make a socket pair", errno);
  }
  return Pair{client::Fd(ends[0]), client::Fd(ends[1])};
}

bool Read(int fd, Message& message) {
  std::size_t have = 0;
  while (have < message.size()) {
    const ssize_t got = ::read(fd, message.data() + have, message.size() - have);
    if (got <= 0) return false;
    have += static_cast<std::size_t>(got);
  }
  return true;
}

bool Write(int fd, const Message& message) {
  return ::write(fd, message.data(), message.size()) == static_cast<ssize_t>(message.size());
}

[[noreturn]] void Echo(int fd) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  Message message{};
  while (Read(fd, message) && Write(fd, message)) {
  }
  ::_exit(0);
}

[[noreturn]] void RelayBetween(int from, int to) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  Message message{};
  while (Read(from, message) && Write(to, message) && Read(to, message) && Write(from, message)) {
  }
  ::_exit(0);
}

// In the process that is forked: one fork an order; answers with nanoseconds.
[[noreturn]] void ForkOnOrder(int control, std::size_t touched_bytes) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (touched_bytes > 0) {
    void* memory =
        ::mmap(nullptr, touched_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) ::_exit(1);
    ::madvise(memory, touched_bytes, MADV_NOHUGEPAGE);
    std::memset(memory, 1, touched_bytes);
  }
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) ::_exit(1);
  char order = 0;
  while (::read(control, &order, 1) == 1) {
    const Stopwatch watch;
    const pid_t child = ::fork();
    if (child == 0) {
      static_cast<void>(::write(ends[1], "x", 1) == 1);
      ::_exit(0);
    }
    if (child < 0 || ::read(ends[0], &order, 1) != 1) ::_exit(1);
    const double us = watch.Us();
    ::waitpid(child, nullptr, 0);
    if (::write(control, &us, sizeof us) != sizeof us) ::_exit(1);
  }
  ::_exit(0);
}

}  // namespace

client::Result<RelayFloor> RelayFloor::Make() {
  auto outer = MakePair();
  auto inner = MakePair();
  if (!outer) return tl::unexpected(outer.error());
  if (!inner) return tl::unexpected(inner.error());
  RelayFloor floor;
  floor.worker_ = ::fork();
  if (floor.worker_ == 0) {
    inner->first.Reset();
    outer->first.Reset();
    Echo(inner->second.get());
  }
  floor.relay_ = ::fork();
  if (floor.relay_ == 0) {
    outer->first.Reset();
    inner->second.Reset();
    RelayBetween(outer->second.get(), inner->first.get());
  }
  if (floor.worker_ < 0 || floor.relay_ < 0) return client::LocalError("cannot fork", errno);
  floor.client_ = std::move(outer->first);
  return floor;
}

RelayFloor::RelayFloor(RelayFloor&& other) noexcept
    : client_(std::move(other.client_)),
      relay_(std::exchange(other.relay_, -1)),
      worker_(std::exchange(other.worker_, -1)) {}

RelayFloor::~RelayFloor() {
  client_.Reset();
  for (const pid_t pid : {relay_, worker_}) {
    if (pid <= 0) continue;
    ::kill(pid, SIGKILL);
    Wait(pid);
  }
}

client::Result<double> RelayFloor::Time() {
  Message message{};
  const Stopwatch watch;
  if (!Write(client_.get(), message) || !Read(client_.get(), message)) {
    return client::LocalError("the relay is gone", errno);
  }
  return watch.Us();
}

client::Result<ForkFloor> ForkFloor::Make(std::size_t touched_bytes) {
  auto pair = MakePair();
  if (!pair) return tl::unexpected(pair.error());
  ForkFloor floor;
  floor.parent_ = ::fork();
  if (floor.parent_ == 0) {
    pair->first.Reset();
    ForkOnOrder(pair->second.get(), touched_bytes);
  }
  if (floor.parent_ < 0) return client::LocalError("cannot fork", errno);
  floor.control_ = std::move(pair->first);
  return floor;
}

ForkFloor::ForkFloor(ForkFloor&& other) noexcept
    : control_(std::move(other.control_)), parent_(std::exchange(other.parent_, -1)) {}

ForkFloor::~ForkFloor() {
  control_.Reset();
  if (parent_ <= 0) return;
  ::kill(parent_, SIGKILL);
  Wait(parent_);
}

client::Result<double> ForkFloor::Time() {
  double us = 0;
  if (::write(control_.get(), "x", 1) != 1 || ::read(control_.get(), &us, sizeof us) != sizeof us) {
    return client::LocalError("the process to fork is gone", errno);
  }
  return us;
}

}  // namespace spore::bench
