// Accepts clients on a listening socket, and ends those that take too long.
#pragma once

#include <cstdint>
#include <memory>
#include <unordered_map>
#include <utility>

#include "tools/client/error.h"
#include "tools/client/fd.h"
#include "tools/gateway/event_loop.h"
#include "tools/gateway/http_connection.h"
#include "tools/gateway/tls.h"

namespace spore::gateway {

class HttpServer {
 public:
  HttpServer(EventLoop& loop, HttpHandler& handler, const HttpLimits& limits);
  // For the connections that are accepted from now on; null: none.
  void UseTls(std::shared_ptr<const TlsContext> tls) { tls_ = std::move(tls); }
  ~HttpServer();
  // Takes a listening socket, TCP or UNIX.
  client::Result<> Listen(client::Fd listening);
  // Accepts no more; connections end with the answer to what they have asked. `done` runs when
  // there is none left.
  void Drain(std::function<void()> done);
  // To be called about every second; false: there is nothing that has a deadline.
  bool Tick();
  const HttpCounters& counters() const { return shared_->counters; }

 private:
  void Accept();
  bool AcceptOne();
  bool MakeRoom();
  void Closed(uint64_t id);

  EventLoop& loop_;
  std::shared_ptr<HttpConnection::Shared> shared_;
  std::shared_ptr<const TlsContext> tls_;
  client::Fd listening_;
  EventLoop::WatchId watch_ = 0;
  std::unordered_map<uint64_t, std::shared_ptr<HttpConnection>> connections_;
  uint64_t next_ = 1;
  bool paused_ = false;  // no descriptor was left
  std::function<void()> drained_;
};

}  // namespace spore::gateway
