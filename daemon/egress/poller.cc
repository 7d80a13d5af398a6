#include "daemon/egress/poller.h"

#include <array>
#include <cerrno>
#include <ctime>
#include <utility>

namespace spore::egress {
namespace {

// A descriptor's number may have changed hands within a turn; the serial tells.
uint64_t KeyOf(int fd, uint32_t serial) {
  return static_cast<uint64_t>(serial) << 32 | static_cast<uint32_t>(fd);
}

}  // namespace

uint64_t NowMs() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1000 + static_cast<uint64_t>(now.tv_nsec) / 1'000'000;
}

Result<Poller> Poller::Create() {
  UniqueFd epoll(epoll_create1(EPOLL_CLOEXEC));
  if (!epoll) return SysError("epoll_create1");
  return Poller(std::move(epoll));
}

bool Poller::Add(int fd, uint32_t events, Handler handler) {
  const uint32_t serial = ++serial_;
  epoll_event event{.events = events, .data = {.u64 = KeyOf(fd, serial)}};
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) return false;
  watched_[fd] = {serial, events, std::make_shared<Handler>(std::move(handler))};
  return true;
}

void Poller::Change(int fd, uint32_t events) {
  const auto found = watched_.find(fd);
  if (found == watched_.end() || found->second.events == events) return;
  const int how = events == 0                 ? EPOLL_CTL_DEL
                  : found->second.events == 0 ? EPOLL_CTL_ADD
                                              : EPOLL_CTL_MOD;
  found->second.events = events;
  epoll_event event{.events = events, .data = {.u64 = KeyOf(fd, found->second.serial)}};
  (void)epoll_ctl(epoll_.get(), how, fd, &event);
}

void Poller::Remove(int fd) {
  const auto found = watched_.find(fd);
  if (found == watched_.end()) return;
  if (found->second.events != 0) (void)epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
  watched_.erase(found);
}

Result<> Poller::Turn(int timeout_ms) {
  std::array<epoll_event, 64> events;
  const int count =
      epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), timeout_ms);
  if (count < 0 && errno != EINTR) return SysError("epoll_wait");
  for (int i = 0; i < count; ++i) {
    const epoll_event& event = events[static_cast<size_t>(i)];
    const int fd = static_cast<int>(event.data.u64 & 0xffffffff);
    const auto found = watched_.find(fd);
    if (found == watched_.end() || KeyOf(fd, found->second.serial) != event.data.u64) continue;
    const std::shared_ptr<Handler> handler = found->second.handler;  // it may remove itself
    (*handler)(event.events);
  }
  return {};
}

}  // namespace spore::egress
