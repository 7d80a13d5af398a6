// A ttrpc server on a UNIX stream socket. Unary calls only.
//
// Framing: daemon/rpc/rpc_frame.h. What is wrong with a frame is answered on its stream when the
// stream is known, and the connection goes on; when the framing itself is lost (unknown type,
// stream 0) the connection is closed.
//
// Descriptors: the kernel delivers them at the latest with the first byte of their frame, so those
// that came before a frame's start belong to nobody and are closed. Where a refused request leaves
// open whose a descriptor is, the connection is closed: no call ever gets another call's file.
#pragma once

#include <google/protobuf/message_lite.h>
#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/loop/close_aside.h"
#include "daemon/loop/event_loop.h"
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
  virtual uint64_t received_ns() const = 0;     // when its frame was complete
  virtual std::vector<ClientFd> TakeFds() = 0;  // as many as the method was registered with
  virtual void Reply(const google::protobuf::MessageLite& response,
                     std::vector<UniqueFd> fds = {}) = 0;
  virtual void Fail(const Error& error) = 0;
  // Runs (once, on the loop) if the client goes away, or the timeout it has set passes, before the
  // answer; at once if that has already happened.
  virtual void OnCancel(std::function<void()> cancelled) = 0;
  virtual bool cancelled() const = 0;
};

// How many descriptors belong to a call, and what its sender is told otherwise.
struct FdNeed {
  FdNeed(size_t needed = 0, const char* fewer_words = nullptr, const char* more_words = nullptr)
      : count(needed), fewer(fewer_words), more(more_words) {}
  size_t count;
  const char* fewer;  // when fewer came; null: the general words
  const char* more;   // when more came with its frame for certain; null: those are just closed
};

class RpcServer {
 public:
  struct Options {
    uint32_t max_message_bytes = 4u << 20;
    size_t max_connections = 1024;
    size_t max_connections_per_uid = 512;  // root has none of its own
    size_t max_calls_per_connection = 256;
    size_t max_pending_fds = 16;                 // received and not yet claimed, a connection
    size_t max_pending_write_bytes = 64u << 20;  // a client that does not read is cut off
  };
  static std::unique_ptr<RpcServer> Create(EventLoop& loop, const Options& options);
  virtual ~RpcServer() = default;

  // What a method makes of a request message before it runs: the descriptors that belong to the
  // call (none for most), and what to do with it then. An error refuses the call.
  struct Prepared {
    FdNeed fds;
    std::function<void(std::shared_ptr<Call>)> start;
  };
  using Method = std::function<Result<Prepared>(const std::string& request)>;
  // `service` as on the wire: "spore.v1.Functions". RegisterMethod below is easier to use.
  virtual void Register(std::string_view service, std::string_view method, Method prepare) = 0;
  // Starts accepting on a listening socket, of which it takes ownership.
  virtual Result<> Listen(UniqueFd listening) = 0;
  // Stops accepting and answers new calls with UNAVAILABLE; calls in progress go on.
  virtual void Drain() = 0;
  virtual size_t calls_in_progress() const = 0;
  virtual size_t connections() const = 0;
};

// Registers a handler that takes the parsed request (its own: it may be moved from); a message that
// does not parse is refused with INVALID_ARGUMENT.
template <typename Request>
void RegisterMethod(RpcServer& server, std::string_view service, std::string_view method,
                    std::function<void(std::shared_ptr<Call>, Request&)> handler,
                    std::function<FdNeed(const Request&)> fd_need = {}) {
  server.Register(
      service, method,
      [handler = std::move(handler), fd_need = std::move(fd_need),
       name = std::string(method)](const std::string& bytes) -> Result<RpcServer::Prepared> {
        auto request = std::make_shared<Request>();
        if (!request->ParseFromString(bytes)) {
          return MakeError(ErrorKind::kInvalid, "the request of " + name + " is not a valid " +
                                                    Request::descriptor()->full_name());
        }
        return RpcServer::Prepared{
            fd_need ? fd_need(*request) : FdNeed(),
            [request, handler](std::shared_ptr<Call> call) { handler(std::move(call), *request); }};
      });
}

}  // namespace spore
