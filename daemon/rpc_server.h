// A ttrpc server on a UNIX stream socket.
//
// Framing (ttrpc PROTOCOL.md): 4 bytes length, 4 bytes stream id, 1 byte type (1 request, 2
// response), 1 byte flags, big endian, then the message; at most 4 MiB. A frame that is too long,
// of an unknown type, or with an even or reused stream id is answered with an error where a stream
// id is known, else the connection is closed. Unary calls only.
#pragma once

#include <google/protobuf/message_lite.h>
#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/event_loop.h"
#include "sandbox/sys/result.h"
#include "sandbox/sys/unique_fd.h"

namespace spore {

// Who is at the other end (SO_PEERCRED, SO_PEERGROUPS), read once at accept.
struct Peer {
  uid_t uid = 0;
  gid_t gid = 0;
  pid_t pid = 0;
  std::vector<gid_t> groups;  // supplementary
};

// One RPC in progress. Held by shared_ptr; exactly one of Reply and Fail is called, once (a call
// that is dropped without either answers INTERNAL). Both are harmless after the client has gone.
class Call {
 public:
  virtual ~Call() = default;
  virtual const Peer& peer() const = 0;
  virtual const std::string& request() const = 0;  // the serialized request message
  virtual uint64_t received_ns() const = 0;        // when its frame was complete
  virtual std::vector<UniqueFd> TakeFds() = 0;     // as many as the method was registered with
  virtual void Reply(const google::protobuf::MessageLite& response,
                     std::vector<UniqueFd> fds = {}) = 0;
  virtual void Fail(const Error& error) = 0;
  // Runs (once, on the loop) if the client goes away before the answer.
  virtual void OnCancel(std::function<void()> cancelled) = 0;
  virtual bool cancelled() const = 0;
};

class RpcServer {
 public:
  struct Options {
    uint32_t max_message_bytes = 4u << 20;
    size_t max_connections = 1024;
    size_t max_calls_per_connection = 256;
    size_t max_pending_fds = 16;  // received and not yet claimed, a connection
    size_t max_pending_write_bytes = 64u << 20;  // a client that does not read is cut off
  };
  static std::unique_ptr<RpcServer> Create(EventLoop& loop, const Options& options);
  virtual ~RpcServer() = default;

  using Handler = std::function<void(std::shared_ptr<Call>)>;
  // Given a request, tells how many descriptors belong to it (0 for most methods). Returning an
  // error refuses the call.
  using FdCount = std::function<Result<size_t>(const std::string& request)>;
  // `service` as on the wire: "spore.v1.Functions".
  virtual void Register(std::string_view service, std::string_view method, Handler handler,
                        FdCount fd_count = {}) = 0;
  // Starts accepting on a listening socket, of which it takes ownership.
  virtual Result<> Listen(UniqueFd listening) = 0;
  // Stops accepting and answers new calls with UNAVAILABLE; calls in progress go on.
  virtual void Drain() = 0;
  virtual size_t calls_in_progress() const = 0;
};

// Registers a handler that takes the parsed request; a message that does not parse is refused
// with INVALID_ARGUMENT.
template <typename Request>
void RegisterMethod(RpcServer& server, std::string_view service, std::string_view method,
                    std::function<void(std::shared_ptr<Call>, const Request&)> handler,
                    std::function<size_t(const Request&)> fd_count = {}) {
  auto parse = [](const std::string& bytes, Request& request) { return request.ParseFromString(bytes); };
  server.Register(
      service, method,
      [handler, parse, name = std::string(method)](std::shared_ptr<Call> call) {
        Request request;
        if (!parse(call->request(), request)) {
          call->Fail({ErrorKind::kInvalid, 0, "request of " + name + " is not a valid message", {}, {}});
          return;
        }
        handler(std::move(call), request);
      },
      [fd_count, parse](const std::string& bytes) -> Result<size_t> {
        if (!fd_count) return 0;
        Request request;
        if (!parse(bytes, request)) return 0;
        return fd_count(request);
      });
}

}  // namespace spore
