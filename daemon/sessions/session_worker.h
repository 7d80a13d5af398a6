// One run of a part of `spore-zygote` that works on sessions from outside: it holds processes by
// ptrace(2), and what it does blocks, so it is a process of its own. It is trusted, says what it
// has to say on a packet channel, and is reaped before its end is told.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "daemon/loop/event_loop.h"
#include "daemon/loop/packet_channel.h"
#include "sandbox/sys/result.h"
#include "spore/v1/spore.pb.h"
#include "zygote/protocol.h"

namespace spore {

class SessionWorker {
 public:
  struct Order {
    std::vector<std::string> arguments;  // after the program's path
    std::vector<int> passed;             // become 4, 5 and so on; borrowed during Start
    std::chrono::seconds limit{60};      // then it is killed; 0: none yet
  };
  struct Handlers {
    std::function<void(Packet& packet)> on_packet;
    std::function<void()> on_late;    // the limit has passed
    std::function<void()> on_closed;  // it says no more
    std::function<void()> on_ended;   // the last call; it may be destroyed then
  };
  static Result<std::unique_ptr<SessionWorker>> Start(EventLoop& loop, Order order,
                                                      Handlers handlers);
  ~SessionWorker();  // kills it, and waits for it
  SessionWorker(const SessionWorker&) = delete;
  SessionWorker& operator=(const SessionWorker&) = delete;

  template <typename Message>
  void Send(const Message& message) {
    (void)channel_->SendStruct(message);  // if it has gone, that is told
  }
  Result<> SendBytes(std::span<const std::byte> message, std::span<const int> fds) {
    return channel_->Send(message, fds);
  }
  // From now on.
  void Limit(std::chrono::seconds limit);
  // It ends as soon as nobody else would suffer from that; at the limit in any case.
  void Terminate();
  void Kill();

 private:
  SessionWorker(EventLoop& loop, Handlers handlers) : loop_(loop), handlers_(std::move(handlers)) {}
  void OnEnded();
  void TellEndSoon();

  EventLoop& loop_;
  Handlers handlers_;
  bool closed_ = false;
  EventLoop::TimerId limit_timer_ = 0;
  pid_t pid_ = 0;
  UniqueFd pidfd_;
  std::unique_ptr<PacketChannel> channel_;
  std::unique_ptr<EventLoop::Watch> end_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

// What it has told of its steps, since `base_ns` (CLOCK_MONOTONIC).
v1::Trace TraceOfWorker(const char* process, const wire::Steps& steps, uint64_t base_ns);

}  // namespace spore
