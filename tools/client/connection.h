// A blocking ttrpc client on a UNIX socket, with descriptors beside messages.
//
// One thread at a time. Call() does one request and waits for its answer; Send() and Receive()
// are its halves, for those who have several requests in flight or wait for other things as well
// (poll fd() for POLLIN, then Receive).
#pragma once

#include <google/protobuf/message_lite.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tools/client/error.h"
#include "tools/client/fd.h"

namespace spore::client {

// What came back for one request.
struct Reply {
  uint32_t stream_id = 0;
  std::string payload;  // the serialized response message
  std::vector<Fd> fds;  // that came with it
};

class Connection {
 public:
  static Result<Connection> Open(const std::string& socket_path);
  // Speaks over a socket that is connected already.
  explicit Connection(Fd connected) : socket_(std::move(connected)) {}

  // Sends a request; the descriptors go with its first byte and stay the caller's. Returns the
  // stream id that its reply will carry.
  Result<uint32_t> Send(std::string_view service, std::string_view method,
                        const google::protobuf::MessageLite& request,
                        const std::vector<int>& fds = {});

  // Waits for the next reply, whichever request it belongs to. A refusal by spored comes back as
  // an error of kind kRefused; `stream_id`, when given, is set in that case too.
  Result<Reply> Receive(uint32_t* stream_id = nullptr);

  // Sends and waits. Not to be mixed with requests in flight. `received` takes the descriptors
  // of the reply; without it they are closed.
  template <typename Response>
  Result<Response> Call(std::string_view service, std::string_view method,
                        const google::protobuf::MessageLite& request,
                        const std::vector<int>& fds = {}, std::vector<Fd>* received = nullptr) {
    auto sent = Send(service, method, request, fds);
    if (!sent) return tl::unexpected(sent.error());
    auto reply = Receive();
    if (!reply) return tl::unexpected(reply.error());
    if (reply->stream_id != *sent) {
      return tl::unexpected(Error{ErrorKind::kLost, 0, 0, "spored answered another request"});
    }
    if (received != nullptr) *received = std::move(reply->fds);
    return Parse<Response>(*reply);
  }

  template <typename Response>
  static Result<Response> Parse(const Reply& reply) {
    Response response;
    if (!response.ParseFromString(reply.payload)) {
      return tl::unexpected(
          Error{ErrorKind::kLost, 0, 0, "spored's answer is not a valid message"});
    }
    return response;
  }

  int fd() const { return socket_.get(); }

 private:
  Result<> ReadExactly(char* out, std::size_t bytes, std::vector<Fd>* fds);

  Fd socket_;
  uint32_t next_stream_id_ = 1;
};

}  // namespace spore::client
