// The instance's end of its request channel (zygote/protocol.h): blocking frames on kInstanceFd.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "zygote/protocol.h"

namespace spore {

// Both return false when the daemon is gone or the descriptor is not what it was (tenant code may
// have closed it). Interrupted calls are taken up again.
bool ReadExactly(int fd, void* buffer, size_t bytes);
bool WriteFrame(int fd, wire::FrameType type, uint64_t id, const void* body, size_t bytes);
// Keeps a small frame until the next WriteFrame, which sends both at once.
void QueueFrame(wire::FrameType type, uint64_t id, const void* body, size_t bytes);

}  // namespace spore
