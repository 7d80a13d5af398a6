// Readiness of descriptors (epoll(7)), one handler each, and the time. One thread.
#pragma once

#include <sys/epoll.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>

#include "sandbox/sys/result.h"
#include "sandbox/sys/unique_fd.h"

namespace spore::egress {

uint64_t NowMs();  // CLOCK_MONOTONIC

class Poller {
 public:
  using Handler = std::function<void(uint32_t events)>;
  static Result<Poller> Create();

  // `fd` is borrowed. False where the kernel refuses.
  bool Add(int fd, uint32_t events, Handler handler);
  // 0: of nothing, its hang-up neither, which epoll(7) tells of else whatever is asked for.
  void Change(int fd, uint32_t events);
  // Before it is closed. No handler of it is called afterwards, not in this turn either.
  void Remove(int fd);
  // Waits, at most so long (-1: for ever), and calls the handlers of what is ready.
  Result<> Turn(int timeout_ms);

 private:
  struct Watched {
    uint32_t serial = 0;
    uint32_t events = 0;
    std::shared_ptr<Handler> handler;
  };
  explicit Poller(UniqueFd epoll) : epoll_(std::move(epoll)) {}

  UniqueFd epoll_;
  uint32_t serial_ = 0;
  std::map<int, Watched> watched_;
};

}  // namespace spore::egress
