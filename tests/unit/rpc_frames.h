// Frames of ttrpc as a client writes them, right or wrong.
#pragma once

#include <string>

#include "daemon/rpc/rpc_frame.h"

namespace spore {

inline std::string Frame(uint32_t id, const std::string& body, uint8_t type = 1,
                         uint8_t flags = 0) {
  RpcFrameHeader header{static_cast<uint32_t>(body.size()), id, type, flags};
  std::string bytes(RpcFrameHeader::kBytes, '\0');
  header.Encode(bytes.data());
  return bytes + body;
}

}  // namespace spore
