// Frames of the instance's request channel, whole.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "zygote/protocol.h"

namespace spore {

struct HostFrame {
  wire::FrameType type;
  uint64_t id = 0;
  std::string body;
};

// The next frame; nothing when the daemon has closed the channel.
std::optional<HostFrame> ReceiveFrame();

}  // namespace spore
