// Calls, and the frames that answer them.
#include <google/protobuf/io/coded_stream.h>

#include "daemon/rpc/rpc_connection.h"
#include "spore/v1/spore.pb.h"

namespace spore {

int RpcCodeOf(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::kInternal:
      return 13;
    case ErrorKind::kInvalid:
      return 3;
    case ErrorKind::kNotFound:
      return 5;
    case ErrorKind::kExists:
      return 6;
    case ErrorKind::kDenied:
      return 7;
    case ErrorKind::kOverloaded:
      return 8;
    case ErrorKind::kPrecondition:
      return 9;
    case ErrorKind::kUnavailable:
      return 14;
  }
  return 13;
}

namespace {

std::string StartFrame(uint32_t stream_id, size_t body_bytes) {
  RpcFrameHeader header;
  header.length = static_cast<uint32_t>(body_bytes);
  header.stream_id = stream_id;
  header.type = static_cast<uint8_t>(RpcFrameType::kResponse);
  std::string frame(RpcFrameHeader::kBytes + body_bytes, '\0');
  header.Encode(frame.data());
  return frame;
}

}  // namespace

std::string ErrorFrame(uint32_t stream_id, int code, const std::string& message) {
  v1::TtrpcResponse response;
  response.mutable_status()->set_code(code);
  response.mutable_status()->set_message(message);
  std::string frame = StartFrame(stream_id, response.ByteSizeLong());
  response.SerializeToArray(frame.data() + RpcFrameHeader::kBytes,
                            static_cast<int>(frame.size() - RpcFrameHeader::kBytes));
  return frame;
}

// TtrpcResponse{payload: response}, written in one go instead of serialized twice.
std::string ResponseFrame(uint32_t stream_id, const google::protobuf::MessageLite& response) {
  using google::protobuf::io::CodedOutputStream;
  constexpr uint8_t kPayloadTag = v1::TtrpcResponse::kPayloadFieldNumber << 3 | 2;
  const size_t size = response.ByteSizeLong();
  const size_t prefix = 1 + CodedOutputStream::VarintSize32(static_cast<uint32_t>(size));
  std::string frame = StartFrame(stream_id, prefix + size);
  auto* out = reinterpret_cast<uint8_t*>(frame.data() + RpcFrameHeader::kBytes);
  *out++ = kPayloadTag;
  out = CodedOutputStream::WriteVarint32ToArray(static_cast<uint32_t>(size), out);
  response.SerializeWithCachedSizesToArray(out);
  return frame;
}

RpcCall::RpcCall(std::shared_ptr<RpcShared> shared, std::weak_ptr<RpcConnection> connection,
                 Peer peer, uint32_t stream_id, std::vector<ClientFd> fds)
    : shared_(std::move(shared)),
      connection_(std::move(connection)),
      peer_(std::move(peer)),
      stream_id_(stream_id),
      received_ns_(MonotonicNs()),
      fds_(std::move(fds)) {
  ++shared_->calls;
}

RpcCall::~RpcCall() {
  if (!finished_) Fail({ErrorKind::kInternal, 0, "the call was dropped without an answer", {}, {}});
}

bool RpcCall::Finish() {
  if (finished_) return false;
  finished_ = true;
  --shared_->calls;
  if (timeout_ != 0) shared_->loop.CancelTimer(timeout_);
  if (auto connection = connection_.lock()) connection->Forget(stream_id_);
  return true;
}

void RpcCall::Answer(std::string frame, std::vector<UniqueFd> fds) {
  // The callback may hold the last reference to this call: it goes at the very end.
  const auto callback = std::exchange(on_cancel_, nullptr);
  if (!Finish()) return;
  if (auto connection = connection_.lock()) connection->Send(std::move(frame), std::move(fds));
}

void RpcCall::Reply(const google::protobuf::MessageLite& response, std::vector<UniqueFd> fds) {
  if (finished_) return;
  const size_t size = response.ByteSizeLong();
  // The envelope around it takes a few bytes.
  if (size + 16 > shared_->options.max_message_bytes) {
    Fail({ErrorKind::kInternal,
          0,
          "the answer has " + std::to_string(size) + " bytes, more than fit in a message",
          {},
          {}});
    return;
  }
  Answer(ResponseFrame(stream_id_, response), std::move(fds));
}

void RpcCall::Fail(const Error& error) {
  if (finished_) return;
  Answer(ErrorFrame(stream_id_, RpcCodeOf(error.kind), error.Message()), {});
}

void RpcCall::OnCancel(std::function<void()> cancelled) {
  if (cancelled_) {
    cancelled();
  } else if (!finished_) {
    on_cancel_ = std::move(cancelled);
  }
}

void RpcCall::Cancel() {
  if (!Finish()) return;
  cancelled_ = true;
  // The callback often holds the call: let go of it on the way out.
  if (auto cancelled = std::exchange(on_cancel_, nullptr)) cancelled();
}

void RpcCall::StartTimeout(std::chrono::nanoseconds timeout, const std::shared_ptr<RpcCall>& self) {
  timeout_ = shared_->loop.AddTimer(timeout, [weak = std::weak_ptr(self)] {
    auto call = weak.lock();
    if (call == nullptr || call->finished_) return;
    if (auto connection = call->connection_.lock()) {
      connection->Send(ErrorFrame(call->stream_id_, static_cast<int>(RpcCode::kDeadlineExceeded),
                                  "the timeout of the call has passed"),
                       {});
    }
    call->Cancel();
  });
}

}  // namespace spore
