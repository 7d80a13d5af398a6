#include "daemon/rpc/rpc_connection.h"

#include "spore/v1/calls.pb.h"
#include "spore/v1/spore.pb.h"

namespace spore {

RpcConnection::RpcConnection(std::shared_ptr<RpcShared> shared, Peer peer,
                             std::function<void()> on_closed)
    : shared_(std::move(shared)),
      peer_(std::move(peer)),
      on_closed_(std::move(on_closed)),
      reader_(shared_->options.max_message_bytes) {}

void RpcConnection::Start(UniqueFd socket) {
  EventLoop::Stream::Handlers handlers;
  // Weak: the stream belongs to the connection, and the server to neither.
  handlers.on_data = [weak = weak_from_this()](std::span<const std::byte> data,
                                               std::vector<UniqueFd> fds) {
    if (auto self = weak.lock()) self->OnData(data, std::move(fds));
  };
  handlers.on_close = [weak = weak_from_this()](int) {
    if (auto self = weak.lock()) self->Close();
  };
  stream_ = shared_->loop.OpenStream(std::move(socket), /*receives_fds=*/true, std::move(handlers));
}

void RpcConnection::Abandon() {
  stream_.reset();
  calls_.clear();
}

void RpcConnection::Close() {
  if (stream_ == nullptr) return;
  stream_.reset();
  pending_fds_.clear();
  auto calls = std::move(calls_);
  calls_.clear();
  for (auto& [id, weak] : calls) {
    if (auto call = weak.lock()) call->Cancel();
  }
  if (auto closed = std::exchange(on_closed_, nullptr)) closed();
}

void RpcConnection::Send(std::string frame, std::vector<UniqueFd> fds) {
  if (stream_ == nullptr) return;
  stream_->Write(std::move(frame), std::move(fds));
  if (stream_->pending_write_bytes() <= shared_->options.max_pending_write_bytes) return;
  // It does not read its answers. Not from inside a handler that may be using this connection.
  shared_->loop.Post([self = shared_from_this()] { self->Close(); });
}

void RpcConnection::OnData(std::span<const std::byte> data, std::vector<UniqueFd> fds) {
  received_ += data.size();
  for (UniqueFd& fd : fds) pending_fds_.push_back({ClientFd(std::move(fd)), received_});
  if (pending_fds_.size() > shared_->options.max_pending_fds) {
    Close();
    return;
  }
  while (stream_ != nullptr) {
    auto frame = reader_.Next(data);
    if (!frame) return;
    OnFrame(*frame);
  }
}

void RpcConnection::OnFrame(const RpcFrameReader::Frame& frame) {
  // Descriptors come at the latest with the first byte of their frame: these were nobody's.
  DropFdsBefore(frame.start);
  const Fds fds = Handle(frame);
  if (stream_ == nullptr) return;
  DropFdsBefore(frame.end);
  // What is left may belong to the refused frame or to a later one; giving it to the wrong one
  // would deploy one function's code as another's.
  if (fds == Fds::kUnknown && !pending_fds_.empty()) Close();
}

void RpcConnection::DropFdsBefore(uint64_t offset) {
  while (!pending_fds_.empty() && pending_fds_.front().end <= offset) pending_fds_.pop_front();
}

RpcConnection::Fds RpcConnection::Handle(const RpcFrameReader::Frame& frame) {
  const RpcFrameHeader& header = frame.header;
  const uint32_t id = header.stream_id;
  if (id == 0) {
    Close();
    return Fds::kUnknown;
  }
  if (header.type != static_cast<uint8_t>(RpcFrameType::kRequest)) {
    Refuse(id, RpcCode::kInvalidArgument,
           "frame type " + std::to_string(header.type) + " is not a request (1)");
    const bool known = header.type == static_cast<uint8_t>(RpcFrameType::kResponse) ||
                       header.type == static_cast<uint8_t>(RpcFrameType::kData);
    if (!known) Close();  // not ttrpc any more
    return Fds::kUnknown;
  }
  if (id % 2 == 0) {
    Refuse(id, RpcCode::kInvalidArgument,
           "stream id " + std::to_string(id) + ": a client's stream ids are odd");
    return Fds::kUnknown;
  }
  if (id <= last_stream_id_) {
    Refuse(id, RpcCode::kInvalidArgument,
           "stream id " + std::to_string(id) + " is not above " + std::to_string(last_stream_id_) +
               ", the last one");
    return Fds::kUnknown;
  }
  last_stream_id_ = id;
  if (frame.too_long) {
    Refuse(id, RpcCode::kInvalidArgument,
           "the message has " + std::to_string(header.length) + " bytes; at most " +
               std::to_string(shared_->options.max_message_bytes) + " are taken");
    return Fds::kUnknown;
  }
  if ((header.flags & RpcFrameHeader::kRemoteOpen) != 0) {
    Refuse(id, RpcCode::kUnimplemented, "streaming calls are not supported");
    return Fds::kUnknown;
  }
  return HandleRequest(frame);
}

RpcConnection::Fds RpcConnection::HandleRequest(const RpcFrameReader::Frame& frame) {
  const uint32_t stream_id = frame.header.stream_id;
  v1::TtrpcRequest request;
  if (!request.ParseFromArray(frame.body.data(), static_cast<int>(frame.body.size()))) {
    Refuse(stream_id, RpcCode::kInvalidArgument, "the frame does not hold a ttrpc request");
    return Fds::kUnknown;
  }
  if (request.service() == "spore.v1.Calls" && request.method() == "Cancel") {
    CancelCall(stream_id, request.payload());
    return Fds::kCounted;
  }
  auto service = shared_->services.find(request.service());
  if (service == shared_->services.end()) {
    Refuse(stream_id, RpcCode::kUnimplemented, "no service \"" + request.service() + "\"");
    return Fds::kUnknown;
  }
  auto method = service->second.find(request.method());
  if (method == service->second.end()) {
    Refuse(stream_id, RpcCode::kUnimplemented,
           "service " + request.service() + " has no method \"" + request.method() + "\"");
    return Fds::kUnknown;
  }
  auto prepared = method->second(request.payload());
  if (!prepared) {
    Send(ErrorFrame(stream_id, RpcCodeOf(prepared.error().kind), prepared.error().Message()), {});
    return Fds::kUnknown;
  }
  auto fds = ClaimFds(prepared->fds, frame.end);
  if (!fds) {
    Refuse(stream_id, RpcCode::kInvalidArgument, fds.error().Message());
    return Fds::kCounted;
  }
  if (shared_->draining) {
    Send(ErrorFrame(stream_id, RpcCodeOf(ErrorKind::kUnavailable), "spored is stopping"), {});
    return Fds::kCounted;
  }
  if (calls_.size() >= shared_->options.max_calls_per_connection) {
    Refuse(stream_id, RpcCode::kResourceExhausted,
           std::to_string(calls_.size()) +
               " calls of this connection are in progress, the most "
               "there can be");
    return Fds::kCounted;
  }
  auto call =
      std::make_shared<RpcCall>(shared_, weak_from_this(), peer_, stream_id, std::move(*fds));
  calls_.emplace(stream_id, call);
  if (request.timeout_nano() > 0) {
    call->StartTimeout(std::chrono::nanoseconds(request.timeout_nano()), call);
  }
  prepared->start(std::move(call));
  return Fds::kCounted;
}

// It is about the connection itself, so no service of the daemon's could do it.
void RpcConnection::CancelCall(uint32_t stream_id, const std::string& request) {
  v1::CancelRequest asked;
  if (!asked.ParseFromString(request)) {
    return Refuse(stream_id, RpcCode::kInvalidArgument,
                  "the request of Cancel is not a valid spore.v1.CancelRequest");
  }
  v1::CancelResponse response;
  const auto found = calls_.find(asked.stream_id());
  if (found != calls_.end()) {
    if (auto call = found->second.lock()) {
      call->Cancel();
      response.set_cancelled(true);
    }
  }
  Send(ResponseFrame(stream_id, response), {});
}

Result<std::vector<ClientFd>> RpcConnection::ClaimFds(const FdNeed& need, uint64_t end) {
  std::vector<ClientFd> fds;
  if (need.count > pending_fds_.size()) {
    if (need.fewer != nullptr) return MakeError(ErrorKind::kInvalid, need.fewer);
    return MakeError(ErrorKind::kInvalid, "the request needs " + std::to_string(need.count) +
                                              " descriptors with it, " +
                                              std::to_string(pending_fds_.size()) + " came");
  }
  for (size_t i = 0; i < need.count; ++i) {
    fds.push_back(std::move(pending_fds_.front().fd));
    pending_fds_.pop_front();
  }
  if (need.more != nullptr && !pending_fds_.empty() && pending_fds_.front().end <= end)
    return MakeError(ErrorKind::kInvalid, need.more);
  return fds;
}

void RpcConnection::Refuse(uint32_t stream_id, RpcCode code, const std::string& message) {
  Send(ErrorFrame(stream_id, static_cast<int>(code), message), {});
}

}  // namespace spore
