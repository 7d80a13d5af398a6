#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "daemon/rpc/rpc_frame.h"
#include "tests/unit/rpc_frames.h"

namespace spore {
namespace {

struct Seen {
  RpcFrameHeader header;
  std::string body;
  bool too_long;
  uint64_t start, end;
};

// Feeds `bytes` in pieces of `piece` bytes.
std::vector<Seen> ReadAll(const std::string& bytes, size_t piece, uint32_t max_body = 1000) {
  RpcFrameReader reader(max_body);
  std::vector<Seen> seen;
  for (size_t at = 0; at < bytes.size(); at += piece) {
    // A copy of exactly this size, so that a sanitizer sees reads beyond it.
    std::vector<char> copy(
        bytes.begin() + static_cast<ptrdiff_t>(at),
        bytes.begin() + static_cast<ptrdiff_t>(std::min(at + piece, bytes.size())));
    std::span<const std::byte> data = std::as_bytes(std::span(copy));
    while (auto frame = reader.Next(data)) {
      seen.push_back(
          {frame->header, std::string(frame->body), frame->too_long, frame->start, frame->end});
    }
    EXPECT_TRUE(data.empty());
  }
  return seen;
}

TEST(Frame, HeaderIsBigEndian) {
  RpcFrameHeader header{0x01020304, 0x0a0b0c0d, 2, 7};
  char bytes[RpcFrameHeader::kBytes];
  header.Encode(bytes);
  EXPECT_EQ(std::string("\1\2\3\4\x0a\x0b\x0c\x0d\2\7", 10), std::string(bytes, 10));
  const auto decoded = RpcFrameHeader::Decode(bytes);
  EXPECT_EQ(0x01020304u, decoded.length);
  EXPECT_EQ(0x0a0b0c0du, decoded.stream_id);
  EXPECT_EQ(2, decoded.type);
  EXPECT_EQ(7, decoded.flags);
}

TEST(Frame, AnyCutGivesTheSameFrames) {
  const std::string bytes = Frame(1, "hello") + Frame(3, "") + Frame(5, std::string(1000, 'x')) +
                            Frame(7, std::string(1001, 'y')) + Frame(9, "after", 3, 2);
  for (size_t piece = 1; piece <= bytes.size(); ++piece) {
    const auto seen = ReadAll(bytes, piece);
    ASSERT_EQ(5u, seen.size()) << "pieces of " << piece;
    EXPECT_EQ("hello", seen[0].body);
    EXPECT_EQ("", seen[1].body);
    EXPECT_EQ(std::string(1000, 'x'), seen[2].body);
    EXPECT_FALSE(seen[2].too_long);
    EXPECT_TRUE(seen[3].too_long);
    EXPECT_EQ("", seen[3].body);
    EXPECT_EQ("after", seen[4].body);
    EXPECT_EQ(9u, seen[4].header.stream_id);
    EXPECT_EQ(3, seen[4].header.type);
    uint64_t offset = 0;
    for (const Seen& frame : seen) {
      EXPECT_EQ(offset, frame.start);
      offset += RpcFrameHeader::kBytes + frame.header.length;
      EXPECT_EQ(offset, frame.end);
    }
  }
}

TEST(Frame, TheLongestLengthIsSkippedNotKept) {
  RpcFrameHeader header{0xffffffff, 1, 1, 0};
  std::string bytes(RpcFrameHeader::kBytes, '\0');
  header.Encode(bytes.data());
  RpcFrameReader reader(1000);
  std::span<const std::byte> data = std::as_bytes(std::span(bytes));
  auto frame = reader.Next(data);
  ASSERT_TRUE(frame);
  EXPECT_TRUE(frame->too_long);
  EXPECT_EQ(10u + 0xffffffffull, frame->end);
  std::string rest(1 << 20, 'x');
  for (int i = 0; i < 4096; ++i) {
    data = std::as_bytes(std::span(rest));
    auto next = reader.Next(data);
    if (i < 4095) {
      ASSERT_FALSE(next);
    }
    if (next) break;
  }
}

TEST(Frame, TruncatedFrameGivesNothing) {
  const std::string bytes = Frame(1, "hello");
  for (size_t length = 0; length < bytes.size(); ++length) {
    EXPECT_TRUE(ReadAll(bytes.substr(0, length), 3).empty());
  }
}

}  // namespace
}  // namespace spore
