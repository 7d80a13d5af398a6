#include "tools/client/frame.h"

namespace spore::client {
namespace {

void PutBigEndian32(char* out, uint32_t value) {
  for (int i = 0; i < 4; ++i) out[i] = static_cast<char>(value >> (24 - 8 * i));
}

uint32_t GetBigEndian32(std::string_view bytes) {
  uint32_t value = 0;
  for (char c : bytes.substr(0, 4)) value = value << 8 | static_cast<unsigned char>(c);
  return value;
}

}  // namespace

std::array<char, kFrameHeaderBytes> EncodeHeader(const FrameHeader& header) {
  std::array<char, kFrameHeaderBytes> bytes{};
  PutBigEndian32(bytes.data(), header.length);
  PutBigEndian32(bytes.data() + 4, header.stream_id);
  bytes[8] = static_cast<char>(header.type);
  bytes[9] = static_cast<char>(header.flags);
  return bytes;
}

std::optional<FrameHeader> DecodeHeader(std::string_view bytes) {
  if (bytes.size() < kFrameHeaderBytes) return std::nullopt;
  FrameHeader header;
  header.length = GetBigEndian32(bytes);
  header.stream_id = GetBigEndian32(bytes.substr(4));
  header.type = static_cast<uint8_t>(bytes[8]);
  header.flags = static_cast<uint8_t>(bytes[9]);
  return header;
}

}  // namespace spore::client
