// The gateway's one thread: epoll(7), and a tick for what has a deadline.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <unordered_map>
#include <vector>

#include "tools/client/error.h"
#include "tools/client/fd.h"

namespace spore::gateway {

class EventLoop {
 public:
  using OnEvents = std::function<void(uint32_t events)>;
  using WatchId = uint64_t;
  static constexpr int kTickMs = 500;

  static client::Result<EventLoop> Create();

  // `events` as epoll_ctl(2) takes them. The descriptor stays the caller's.
  client::Result<WatchId> Watch(int fd, uint32_t events, OnEvents on_events);
  client::Result<> Change(WatchId id, uint32_t events);
  // Its callback does not run any more, events already fetched included.
  void Unwatch(WatchId id);

  // Runs when all events that have been fetched are done with.
  void Post(std::function<void()> task) { posted_.push_back(std::move(task)); }

  // `tick` runs every kTickMs for as long as it answers true; then no more until Wake.
  void SetTick(std::function<bool()> tick) { tick_ = std::move(tick); }
  void Wake() { ticking_ = true; }

  client::Result<> Run();
  void Stop() { stopped_ = true; }

 private:
  struct Watcher {
    int fd;
    std::shared_ptr<OnEvents> on_events;
  };
  void RunPosted();
  void RunTick();

  client::Fd epoll_;
  std::unordered_map<WatchId, Watcher> watchers_;
  std::vector<std::function<void()>> posted_;
  std::function<bool()> tick_;
  WatchId next_ = 1;
  int64_t next_tick_ms_ = 0;
  bool ticking_ = false;
  bool stopped_ = false;
};

// CLOCK_MONOTONIC, in milliseconds.
int64_t NowMs();

}  // namespace spore::gateway
