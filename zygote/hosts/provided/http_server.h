// HTTP/1.1 on a loopback port: requests go to one function, which answers at once or later.
//
// One thread, by epoll(7); the caller waits and hands in what it was woken by. A connection whose
// request waits for its answer is watched for its end: libmicrohttpd, which was looked at, cannot
// do that (docs/decisions/0020).
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "sandbox/sys/result.h"
#include "sandbox/sys/unique_fd.h"
#include "zygote/hosts/provided/http_request.h"
#include "zygote/hosts/provided/runtime_api.h"

namespace spore {

class HttpServer {
 public:
  using ConnectionId = uint64_t;
  // Of epoll's data: those below are the caller's.
  static constexpr uint64_t kListenerTag = 16;

  struct Handlers {
    // To be followed by Reply, now or later.
    std::function<void(ConnectionId, HttpRequest&)> on_request;
    // `reset`: what was written last may not have been read.
    std::function<void(ConnectionId, bool reset)> on_closed;
  };

  // `epoll` is borrowed.
  static Result<std::unique_ptr<HttpServer>> Listen(int epoll, uint16_t port, size_t max_body,
                                                    Handlers handlers);
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  // One of epoll's events with a tag of kListenerTag or above.
  void OnEvent(uint64_t tag, uint32_t events);
  void Reply(ConnectionId id, const HttpReply& reply);
  // These look, instead of waiting to be told.
  bool IsOpen(ConnectionId id) const;
  // What was written last was not read to its end, and will not be.
  bool IsLost(ConnectionId id) const;

 private:
  struct Connection;
  HttpServer(int epoll, UniqueFd listener, size_t max_body, Handlers handlers);
  void Accept();
  void WatchListener(bool watch);
  void Watch(Connection& connection, uint32_t events) const;
  void Read(Connection& connection);
  // What has arrived, as far as the request in progress allows. False: the connection is gone.
  bool Take(Connection& connection);
  bool Write(Connection& connection);
  void Queue(Connection& connection, const HttpReply& reply, bool keep_alive) const;
  void Close(ConnectionId id, bool reset);

  int epoll_;
  UniqueFd listener_;
  bool listening_ = false;
  size_t max_body_;
  Handlers handlers_;
  ConnectionId taking_ = 0;  // whose requests are being handled: an answer does not go on with them
  ConnectionId next_id_ = kListenerTag + 1;
  std::map<ConnectionId, std::unique_ptr<Connection>> connections_;
};

}  // namespace spore
