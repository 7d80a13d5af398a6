#include "tools/client/connection.h"

#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>
#include <cstring>

#include "spore/v1/spore.pb.h"
#include "tools/client/ancillary.h"
#include "tools/client/frame.h"

namespace spore::client {
namespace {

tl::unexpected<Error> Lost(std::string message, int errno_value = 0) {
  if (errno_value != 0) message += std::string(": ") + std::strerror(errno_value);
  return tl::unexpected(Error{ErrorKind::kLost, 0, errno_value, std::move(message)});
}

tl::unexpected<Error> Unreachable(const std::string& path, int errno_value) {
  return tl::unexpected(
      Error{ErrorKind::kUnreachable, 0, errno_value,
            "cannot reach spored at " + path + ": " + std::strerror(errno_value)});
}

}  // namespace

tl::unexpected<Error> LocalError(std::string message, int errno_value) {
  if (errno_value != 0) message += std::string(": ") + std::strerror(errno_value);
  return tl::unexpected(Error{ErrorKind::kLocal, 0, errno_value, std::move(message)});
}

Result<Connection> Connection::Open(const std::string& socket_path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (socket_path.empty() || socket_path.size() >= sizeof address.sun_path) {
    return Unreachable(socket_path, socket_path.empty() ? ENOENT : ENAMETOOLONG);
  }
  std::memcpy(address.sun_path, socket_path.c_str(), socket_path.size() + 1);
  Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return LocalError("socket", errno);
  int result = 0;
  do {
    result = ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
  } while (result != 0 && errno == EINTR);
  if (result != 0) return Unreachable(socket_path, errno);
  return Connection(std::move(fd));
}

Result<uint32_t> Connection::Send(std::string_view service, std::string_view method,
                                  const google::protobuf::MessageLite& request,
                                  const std::vector<int>& fds) {
  if (fds.size() > kMaxFds) return LocalError("too many descriptors for one request");
  v1::TtrpcRequest envelope;
  envelope.set_service(service.data(), service.size());
  envelope.set_method(method.data(), method.size());
  if (!request.SerializeToString(envelope.mutable_payload())) {
    return LocalError("request cannot be encoded (more than 2 GiB?)");
  }
  const std::size_t length = envelope.ByteSizeLong();
  if (length > kMaxMessageBytes) {
    return LocalError("request of " + std::to_string(length) + " bytes is too large; at most " +
                      std::to_string(kMaxMessageBytes));
  }
  const uint32_t stream_id = next_stream_id_;
  next_stream_id_ += 2;
  const auto header = EncodeHeader({static_cast<uint32_t>(length), stream_id, kFrameRequest, 0});
  std::string frame(header.data(), header.size());
  if (!envelope.AppendToString(&frame)) return LocalError("request cannot be encoded");

  ControlBuffer control;
  for (std::size_t done = 0; done < frame.size();) {
    iovec part{frame.data() + done, frame.size() - done};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    if (done == 0) AttachFds(message, control, fds);
    const ssize_t sent = ::sendmsg(fd(), &message, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) return Lost("sending to spored", errno);
    done += static_cast<std::size_t>(sent);
  }
  return stream_id;
}

Result<> Connection::ReadExactly(char* out, std::size_t bytes, std::vector<Fd>* fds) {
  for (std::size_t done = 0; done < bytes;) {
    ControlBuffer control;
    iovec part{out + done, bytes - done};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control.bytes;
    message.msg_controllen = sizeof control.bytes;
    const ssize_t got = ::recvmsg(fd(), &message, MSG_CMSG_CLOEXEC);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return Lost("receiving from spored", errno);
    CollectFds(message, *fds);
    if (got == 0) return Lost("spored closed the connection before it had answered");
    done += static_cast<std::size_t>(got);
  }
  return {};
}

Result<Reply> Connection::Receive(uint32_t* stream_id) {
  // Never reading past a frame's end keeps its descriptors apart from the next frame's.
  Reply reply;
  std::array<char, kFrameHeaderBytes> bytes{};
  if (auto read = ReadExactly(bytes.data(), bytes.size(), &reply.fds); !read) {
    return tl::unexpected(read.error());
  }
  const FrameHeader header = *DecodeHeader({bytes.data(), bytes.size()});
  if (header.type != kFrameResponse || header.length > kMaxMessageBytes) {
    return Lost("spored sent a frame that is not ttrpc's (type " + std::to_string(header.type) +
                ", length " + std::to_string(header.length) + "); is something else listening?");
  }
  std::string message(header.length, '\0');
  if (auto read = ReadExactly(message.data(), message.size(), &reply.fds); !read) {
    return tl::unexpected(read.error());
  }
  if (stream_id != nullptr) *stream_id = header.stream_id;
  v1::TtrpcResponse envelope;
  if (!envelope.ParseFromString(message)) return Lost("spored's answer is not a valid message");
  if (envelope.status().code() != 0) {
    return tl::unexpected(
        Error{ErrorKind::kRefused, envelope.status().code(), 0, envelope.status().message()});
  }
  reply.stream_id = header.stream_id;
  reply.payload = std::move(*envelope.mutable_payload());
  return reply;
}

}  // namespace spore::client
