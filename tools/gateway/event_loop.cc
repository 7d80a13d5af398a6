#include "tools/gateway/event_loop.h"

#include <sys/epoll.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <memory>
#include <utility>

namespace spore::gateway {

int64_t NowMs() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

client::Result<EventLoop> EventLoop::Create() {
  EventLoop loop;
  loop.epoll_.Reset(::epoll_create1(EPOLL_CLOEXEC));
  if (!loop.epoll_.valid()) return client::LocalError("epoll_create1", errno);
  return loop;
}

client::Result<EventLoop::WatchId> EventLoop::Watch(int fd, uint32_t events, OnEvents on_events) {
  const WatchId id = next_++;
  epoll_event event{};
  event.events = events;
  event.data.u64 = id;
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0)
    return client::LocalError("epoll_ctl", errno);
  watchers_.emplace(id, Watcher{fd, std::make_shared<OnEvents>(std::move(on_events))});
  return id;
}

client::Result<> EventLoop::Change(WatchId id, uint32_t events) {
  epoll_event event{};
  event.events = events;
  event.data.u64 = id;
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, watchers_.at(id).fd, &event) != 0)
    return client::LocalError("epoll_ctl", errno);
  return {};
}

void EventLoop::Unwatch(WatchId id) {
  const auto found = watchers_.find(id);
  if (found == watchers_.end()) return;
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, found->second.fd, nullptr);
  watchers_.erase(found);
}

void EventLoop::RunPosted() {
  while (!posted_.empty()) {
    auto tasks = std::exchange(posted_, {});
    for (auto& task : tasks) task();
  }
}

void EventLoop::RunTick() {
  const int64_t now = NowMs();
  if (!ticking_ || now < next_tick_ms_) return;
  next_tick_ms_ = now + kTickMs;
  if (tick_) ticking_ = tick_();
}

client::Result<> EventLoop::Run() {
  std::array<epoll_event, 256> events;
  while (!stopped_) {
    int wait_ms = -1;
    if (ticking_) wait_ms = static_cast<int>(std::max<int64_t>(0, next_tick_ms_ - NowMs()));
    const int count =
        ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), wait_ms);
    if (count < 0 && errno != EINTR) return client::LocalError("epoll_wait", errno);
    for (int i = 0; i < count; ++i) {
      const epoll_event& event = events.at(static_cast<std::size_t>(i));
      const auto found = watchers_.find(event.data.u64);
      if (found == watchers_.end()) continue;
      // Its own, for it may unwatch itself.
      const std::shared_ptr<OnEvents> on_events = found->second.on_events;
      (*on_events)(event.events);
    }
    RunPosted();
    RunTick();
  }
  return {};
}

}  // namespace spore::gateway
