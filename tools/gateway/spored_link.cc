#include "tools/gateway/spored_link.h"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "spore/v1/calls.pb.h"
#include "spore/v1/spore.pb.h"
#include "tools/client/ancillary.h"
#include "tools/client/frame.h"

namespace spore::gateway {
namespace {

constexpr std::size_t kReadBytes = 64 << 10;
constexpr std::size_t kKeptBuffer = 256 << 10;

client::Error LostError(std::string message, int errno_value = 0) {
  if (errno_value != 0) message += std::string(": ") + std::strerror(errno_value);
  return {client::ErrorKind::kLost, 0, errno_value, std::move(message)};
}

}  // namespace

client::Result<std::unique_ptr<SporedLink>> SporedLink::Connect(EventLoop& loop,
                                                                const std::string& path) {
  const auto unreachable = [&](int errno_value) {
    return tl::unexpected(
        client::Error{client::ErrorKind::kUnreachable, 0, errno_value,
                      "cannot reach spored at " + path + ": " + std::strerror(errno_value)});
  };
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path) return unreachable(ENAMETOOLONG);
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  client::Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket.valid()) return client::LocalError("socket", errno);
  // A full backlog is told at once (EAGAIN): a UNIX socket's connect(2) waits for nobody here.
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return unreachable(errno);
  std::unique_ptr<SporedLink> link(new SporedLink(loop, std::move(socket)));
  auto watch = loop.Watch(link->socket_.get(), EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
                          [raw = link.get()](uint32_t events) { raw->OnEvents(events); });
  if (!watch) return tl::unexpected(watch.error());
  link->watch_ = *watch;
  return link;
}

SporedLink::~SporedLink() {
  if (watch_ != 0) loop_.Unwatch(watch_);
}

client::Result<uint32_t> SporedLink::Call(std::string_view service, std::string_view method,
                                          const google::protobuf::MessageLite& request,
                                          std::vector<client::Fd> fds, OnReply on_reply) {
  v1::TtrpcRequest envelope;
  envelope.set_service(service.data(), service.size());
  envelope.set_method(method.data(), method.size());
  if (!request.SerializeToString(envelope.mutable_payload()))
    return client::LocalError("request cannot be encoded");
  const std::size_t length = envelope.ByteSizeLong();
  if (length > client::kMaxMessageBytes) {
    return client::LocalError("request of " + std::to_string(length) + " bytes is too large");
  }
  const uint32_t stream_id = next_stream_id_;
  next_stream_id_ += 2;
  const auto header =
      client::EncodeHeader({static_cast<uint32_t>(length), stream_id, client::kFrameRequest, 0});
  Frame frame;
  frame.bytes.reserve(header.size() + length);
  frame.bytes.assign(header.data(), header.size());
  envelope.AppendToString(&frame.bytes);
  frame.fds = std::move(fds);
  outgoing_.push_back(std::move(frame));
  calls_.emplace(stream_id, std::move(on_reply));
  Flush();
  return stream_id;
}

void SporedLink::Cancel(uint32_t stream_id) {
  if (lost_ || !calls_.contains(stream_id)) return;
  v1::CancelRequest request;
  request.set_stream_id(stream_id);
  // Answers come in order: when the call was ended, its own answer cannot come any more. Else it
  // has come already.
  (void)Call("spore.v1.Calls", "Cancel", request, {},
             [this, stream_id](client::Result<std::string_view> payload, FdQueue&) {
               v1::CancelResponse response;
               if (payload &&
                   response.ParseFromArray(payload->data(), static_cast<int>(payload->size())) &&
                   response.cancelled()) {
                 Finish(stream_id, tl::unexpected(LostError("cancelled")));
               }
             });
}

void SporedLink::OnEvents(uint32_t events) {
  if ((events & EPOLLOUT) != 0) Flush();
  if (!lost_ && (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) Receive();
}

// False: the socket is full, or the link is lost.
bool SporedLink::SendSome(Frame& frame) {
  iovec part{frame.bytes.data() + frame.sent, frame.bytes.size() - frame.sent};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  client::ControlBuffer control;
  if (frame.sent == 0) client::AttachFds(message, control, frame.fds);
  const ssize_t sent = ::sendmsg(socket_.get(), &message, MSG_NOSIGNAL);
  if (sent < 0 && errno == EINTR) return true;
  if (sent < 0 && errno == EAGAIN) return false;
  if (sent < 0) {
    // Not from inside Call: its caller does not expect the answer yet.
    loop_.Post([this, watch = watch_, error = LostError("sending to spored", errno)] {
      if (watch == watch_) Lose(error);
    });
    lost_ = true;
    return false;
  }
  frame.sent += static_cast<std::size_t>(sent);
  frame.fds.clear();
  return true;
}

void SporedLink::Flush() {
  while (!outgoing_.empty() && !lost_) {
    Frame& frame = outgoing_.front();
    if (!SendSome(frame)) return;
    if (frame.sent == frame.bytes.size()) outgoing_.pop_front();
  }
}

void SporedLink::Receive() {
  for (;;) {
    std::array<char, kReadBytes> buffer;
    iovec part{buffer.data(), buffer.size()};
    client::ControlBuffer control;
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control.bytes;
    message.msg_controllen = sizeof control.bytes;
    const ssize_t got = ::recvmsg(socket_.get(), &message, MSG_CMSG_CLOEXEC);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EAGAIN) return;
    if (got < 0) return Lose(LostError("receiving from spored", errno));
    client::CollectFds(message, fds_);
    if (got == 0) return Lose(LostError("spored closed the connection"));
    incoming_.append(buffer.data(), static_cast<std::size_t>(got));
    if (!TakeFrames()) return;
  }
}

// False: the link is lost.
bool SporedLink::TakeFrames() {
  std::size_t at = 0;
  while (!lost_) {
    const auto header = client::DecodeHeader(std::string_view(incoming_).substr(at));
    if (!header) break;
    if (header->type != client::kFrameResponse || header->length > client::kMaxMessageBytes) {
      Lose(LostError("what came from spored is not ttrpc"));
      return false;
    }
    if (incoming_.size() - at < client::kFrameHeaderBytes + header->length) break;
    v1::TtrpcResponse envelope;
    if (!envelope.ParseFromArray(incoming_.data() + at + client::kFrameHeaderBytes,
                                 static_cast<int>(header->length))) {
      Lose(LostError("spored's answer is not a valid message"));
      return false;
    }
    at += client::kFrameHeaderBytes + header->length;
    if (envelope.status().code() != 0) {
      Finish(header->stream_id,
             tl::unexpected(client::Error{client::ErrorKind::kRefused, envelope.status().code(), 0,
                                          envelope.status().message()}));
    } else {
      Finish(header->stream_id, std::string_view(envelope.payload()));
    }
  }
  incoming_.erase(0, at);
  if (incoming_.empty() && incoming_.capacity() > kKeptBuffer) std::string().swap(incoming_);
  return !lost_;
}

void SporedLink::Finish(uint32_t stream_id, client::Result<std::string_view> payload) {
  auto call = calls_.extract(stream_id);
  if (!call.empty()) call.mapped()(std::move(payload), fds_);
}

void SporedLink::Lose(const client::Error& error) {
  if (watch_ == 0) return;
  lost_ = true;
  loop_.Unwatch(std::exchange(watch_, 0));
  socket_.Reset();
  outgoing_.clear();
  auto calls = std::exchange(calls_, {});
  for (auto& [id, on_reply] : calls) on_reply(tl::unexpected(error), fds_);
  // Its owner lets go of it.
  if (on_lost_) loop_.Post(std::exchange(on_lost_, nullptr));
}

}  // namespace spore::gateway
