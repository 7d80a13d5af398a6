// The frames of ttrpc (its PROTOCOL.md): ten bytes of header, then a message.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace spore::client {

constexpr std::size_t kFrameHeaderBytes = 10;
constexpr uint32_t kMaxMessageBytes = 4u << 20;
constexpr uint8_t kFrameRequest = 1;
constexpr uint8_t kFrameResponse = 2;

struct FrameHeader {
  uint32_t length = 0;     // of the message that follows
  uint32_t stream_id = 0;  // odd: begun by a client
  uint8_t type = 0;
  uint8_t flags = 0;

  bool operator==(const FrameHeader&) const = default;
};

// Big endian, in the order of the fields.
std::array<char, kFrameHeaderBytes> EncodeHeader(const FrameHeader& header);

// Nothing when there are fewer than ten bytes.
std::optional<FrameHeader> DecodeHeader(std::string_view bytes);

}  // namespace spore::client
