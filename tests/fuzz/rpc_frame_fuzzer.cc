// libFuzzer target: whatever the bytes and however they are cut, the frame reader gives the same
// frames, keeps its offsets and reads nothing outside.
#include <cstdlib>
#include <vector>

#include "daemon/rpc/rpc_frame.h"
#include "spore/v1/spore.pb.h"

namespace {

struct Seen {
  uint32_t stream_id;
  bool too_long;
  uint64_t start, end;
  std::string body;
  bool operator==(const Seen&) const = default;
};

std::vector<Seen> ReadAll(std::span<const std::byte> bytes, size_t piece) {
  spore::RpcFrameReader reader(512);
  std::vector<Seen> seen;
  while (!bytes.empty()) {
    const auto part = bytes.first(std::min(piece, bytes.size()));
    bytes = bytes.subspan(part.size());
    const std::vector<std::byte> copy(part.begin(), part.end());
    std::span<const std::byte> data(copy);
    while (auto frame = reader.Next(data)) {
      seen.push_back({frame->header.stream_id, frame->too_long, frame->start, frame->end,
                      std::string(frame->body)});
      spore::v1::TtrpcRequest request;
      (void)request.ParseFromString(seen.back().body);
    }
  }
  return seen;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1) return 0;
  const size_t piece = 1 + data[0];
  const auto bytes = std::as_bytes(std::span(data + 1, size - 1));
  if (ReadAll(bytes, piece) != ReadAll(bytes, size)) std::abort();
  return 0;
}
