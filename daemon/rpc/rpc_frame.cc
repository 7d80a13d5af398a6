#include "daemon/rpc/rpc_frame.h"

#include <algorithm>

namespace spore {
namespace {

void PutBig32(char* out, uint32_t value) {
  for (int i = 0; i < 4; ++i) out[i] = static_cast<char>(value >> (24 - 8 * i));
}

uint32_t GetBig32(const char* bytes) {
  uint32_t value = 0;
  for (int i = 0; i < 4; ++i) value = value << 8 | static_cast<uint8_t>(bytes[i]);
  return value;
}

}  // namespace

void RpcFrameHeader::Encode(char* out) const {
  PutBig32(out, length);
  PutBig32(out + 4, stream_id);
  out[8] = static_cast<char>(type);
  out[9] = static_cast<char>(flags);
}

RpcFrameHeader RpcFrameHeader::Decode(const char* bytes) {
  return {GetBig32(bytes), GetBig32(bytes + 4), static_cast<uint8_t>(bytes[8]),
          static_cast<uint8_t>(bytes[9])};
}

std::string_view RpcFrameReader::Take(std::span<const std::byte>& data, size_t count) {
  count = std::min(count, data.size());
  std::string_view taken(reinterpret_cast<const char*>(data.data()), count);
  data = data.subspan(count);
  offset_ += count;
  return taken;
}

std::optional<RpcFrameReader::Frame> RpcFrameReader::Next(std::span<const std::byte>& data) {
  if (finished_) {
    finished_ = false;
    partial_.clear();
    // One large frame does not make a quiet connection expensive.
    if (partial_.capacity() > 64 * 1024) partial_.shrink_to_fit();
  }
  skip_ -= Take(data, static_cast<size_t>(std::min<uint64_t>(skip_, data.size()))).size();
  if (skip_ > 0 || data.empty()) return std::nullopt;

  // The common case: the whole frame is in this piece.
  if (partial_.empty() && data.size() >= RpcFrameHeader::kBytes) {
    const auto header = RpcFrameHeader::Decode(reinterpret_cast<const char*>(data.data()));
    if (header.length <= max_body_bytes_ && data.size() - RpcFrameHeader::kBytes >= header.length) {
      Frame frame{.header = header, .start = offset_};
      Take(data, RpcFrameHeader::kBytes);
      frame.body = Take(data, header.length);
      frame.end = offset_;
      return frame;
    }
  }
  if (partial_.size() < RpcFrameHeader::kBytes) {
    partial_.append(Take(data, RpcFrameHeader::kBytes - partial_.size()));
    if (partial_.size() < RpcFrameHeader::kBytes) return std::nullopt;
  }
  const auto header = RpcFrameHeader::Decode(partial_.data());
  if (header.length > max_body_bytes_) {
    partial_.clear();
    skip_ = header.length;
    return Frame{.header = header,
                 .too_long = true,
                 .start = offset_ - RpcFrameHeader::kBytes,
                 .end = offset_ + header.length};
  }
  const size_t whole = RpcFrameHeader::kBytes + header.length;
  partial_.append(Take(data, whole - partial_.size()));
  if (partial_.size() < whole) return std::nullopt;
  finished_ = true;
  return Frame{.header = header,
               .body = std::string_view(partial_).substr(RpcFrameHeader::kBytes),
               .start = offset_ - whole,
               .end = offset_};
}

}  // namespace spore
