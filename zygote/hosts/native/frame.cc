#include "zygote/hosts/native/frame.h"

#include "zygote/hosts/common/channel.h"
#include "zygote/hosts/common/confine.h"

namespace spore {

std::optional<HostFrame> ReceiveFrame() {
  wire::FrameHeader header{};
  if (!ReadExactly(kInstanceFd, &header, sizeof header)) return std::nullopt;
  if (header.length > wire::kMaxFrame) return std::nullopt;
  HostFrame frame{header.type, header.id, std::string(header.length, '\0')};
  if (!ReadExactly(kInstanceFd, frame.body.data(), header.length)) return std::nullopt;
  return frame;
}

}  // namespace spore
