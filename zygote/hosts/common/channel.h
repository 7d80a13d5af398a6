// The instance's end of its request channel (zygote/protocol.h): blocking frames on kInstanceFd.
#pragma once

#include <cstddef>
#include <cstdint>

#include "zygote/protocol.h"

namespace spore {

// Both return false when the daemon is gone or the descriptor is not what it was (tenant code may
// have closed it). Interrupted calls are taken up again.
bool ReadExactly(int fd, void* buffer, size_t bytes);
bool WriteFrame(int fd, wire::FrameType type, uint64_t id, const void* body, size_t bytes);
// Keeps a small frame until the next WriteFrame, which sends both at once: what tells spored
// nothing to act on shall not wake it up.
bool QueueFrame(int fd, wire::FrameType type, uint64_t id, const void* body, size_t bytes);
void DropQueued();
// Has the kernel copy what the above write to, before somebody waits for it.
void TouchChannel();

}  // namespace spore
