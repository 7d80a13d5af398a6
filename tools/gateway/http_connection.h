// One client: reads a request, has it handled, writes the answer, and again.
//
// Requests of a connection are served one after another; what is pipelined waits in the kernel's
// buffer. A client that shuts down its side while its request is in progress has gone.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "tools/client/fd.h"
#include "tools/gateway/event_loop.h"
#include "tools/gateway/http_message.h"
#include "tools/gateway/http_parser.h"
#include "tools/gateway/transport.h"

namespace spore::gateway {

// How long a client may take, and what all of them together may hold.
struct HttpLimits {
  std::size_t max_connections = 2048;
  std::size_t max_body_memory = 256u << 20;  // of requests and answers under way
  int64_t head_ms = 10'000;   // from the first byte of a request to the end of its head
  int64_t body_ms = 60'000;   // from there to the end of its body
  int64_t idle_ms = 75'000;   // between requests
  int64_t write_ms = 60'000;  // to take the answer
};

// Counted for all connections of a server.
struct HttpCounters {
  std::size_t connections = 0;
  uint64_t accepted = 0;
  uint64_t refused_connections = 0;
  uint64_t requests = 0;
  uint64_t malformed = 0;
  uint64_t timed_out = 0;
  uint64_t vanished = 0;
  uint64_t tls_failed = 0;  // connections that ended with an error of TLS, handshakes included
  std::size_t in_progress = 0;
  std::size_t body_bytes = 0;
  uint64_t by_class[6] = {};  // answers, by the first digit of their status
};

class HttpConnection : public std::enable_shared_from_this<HttpConnection> {
 public:
  struct Shared {
    EventLoop& loop;
    HttpHandler& handler;
    HttpLimits limits;
    HttpCounters counters;
    bool draining = false;
  };

  // `transport` works on `socket`.
  HttpConnection(std::shared_ptr<Shared> shared, client::Fd socket,
                 std::unique_ptr<Transport> transport, std::string peer,
                 std::function<void()> on_closed);
  ~HttpConnection();
  // False: it could not be watched; let it go.
  bool Start();
  // Ends it when a deadline has passed.
  void CheckDeadline(int64_t now_ms);
  // Waits for its first or next request.
  bool idle() const { return state_ == State::kHead && input_.empty(); }
  int64_t deadline_ms() const { return deadline_ms_; }
  void Close();

 private:
  class Pending;
  enum class State { kHead, kBody, kBusy, kWriting, kLingering, kClosed };

  void OnEvents(uint32_t events);
  void Advance();
  bool Step();  // false: nothing more can be done now
  bool ReadMore();
  bool TakeRequest();
  bool OnHead();
  void Dispatch();
  void Refuse(int status, const std::string& reason);
  void Answer(HttpResponse response);
  bool Flush();
  bool AfterAnswer();
  bool Linger();
  void CountBody(std::size_t bytes);

  std::shared_ptr<Shared> shared_;
  client::Fd socket_;
  std::unique_ptr<Transport> transport_;
  std::string peer_;
  std::function<void()> on_closed_;
  EventLoop::WatchId watch_ = 0;
  State state_ = State::kHead;
  HttpParser parser_;
  std::string input_;  // received and not parsed yet
  std::string output_;
  std::size_t written_ = 0;
  std::shared_ptr<Pending> pending_;  // of kBusy
  HttpHandler::Admission admission_;
  std::size_t counted_body_ = 0;
  std::size_t lingered_ = 0;
  int64_t deadline_ms_ = 0;
  bool readable_ = false;
  bool advancing_ = false;
  bool keep_alive_ = false;
  bool head_only_ = false;  // the request is HEAD
};

}  // namespace spore::gateway
