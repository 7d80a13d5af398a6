// The frames of ttrpc (its PROTOCOL.md): 4 bytes length of the body, 4 bytes stream id, 1 byte
// type, 1 byte flags, big endian, then the body.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace spore {

enum class RpcFrameType : uint8_t { kRequest = 1, kResponse = 2, kData = 3 };

struct RpcFrameHeader {
  static constexpr size_t kBytes = 10;
  static constexpr uint8_t kRemoteOpen = 0x02;  // flag: the sender will stream more

  uint32_t length = 0;
  uint32_t stream_id = 0;
  uint8_t type = 0;
  uint8_t flags = 0;

  void Encode(char* out) const;  // kBytes
  static RpcFrameHeader Decode(const char* bytes);
};

// Cuts a byte stream, in pieces of any size, into frames. Keeps at most one unfinished frame, and
// memory for it only as its bytes come.
class RpcFrameReader {
 public:
  struct Frame {
    RpcFrameHeader header;
    std::string_view body;  // valid until the next call; empty when too long
    bool too_long = false;  // its body is skipped, not kept
    uint64_t start = 0;     // offsets in the stream
    uint64_t end = 0;
  };
  explicit RpcFrameReader(uint32_t max_body_bytes) : max_body_bytes_(max_body_bytes) {}

  // Takes what it can use from the front of `data`. Returns the next frame, or nothing when `data`
  // is used up. A frame that is too long is reported as soon as its header is known.
  std::optional<Frame> Next(std::span<const std::byte>& data);

 private:
  std::string_view Take(std::span<const std::byte>& data, size_t count);

  uint32_t max_body_bytes_;
  uint64_t offset_ = 0;    // bytes taken
  uint64_t skip_ = 0;      // left of a body that is too long
  std::string partial_;    // header and body of an unfinished frame
  bool finished_ = false;  // partial_ was handed out and goes at the next call
};

}  // namespace spore
