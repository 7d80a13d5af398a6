// The instance's end of its request channel (zygote/protocol.h): blocking frames on kInstanceFd.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "zygote/protocol.h"

namespace spore {

// Both return false when the daemon is gone or the descriptor is not what it was (tenant code may
// have closed it). Interrupted calls are taken up again.
bool ReadExactly(int fd, void* buffer, size_t bytes);
bool WriteFrame(int fd, wire::FrameType type, uint64_t id, const void* body, size_t bytes);

struct HostFrame {
  wire::FrameType type;
  uint64_t id = 0;
  std::string body;
};
// The next frame, whole; nothing when the other end is gone or has sent rubbish.
std::optional<HostFrame> ReadFrame(int fd);

// The body of a kInvoke, cut in two. False when it is none.
struct InvocationParts {
  std::string_view meta, event;
};
bool CutInvocation(std::string_view body, InvocationParts& parts);

// Keeps a small frame until the next WriteFrame, which sends both at once: what tells spored
// nothing to act on shall not wake it up.
bool QueueFrame(int fd, wire::FrameType type, uint64_t id, const void* body, size_t bytes);
// Queues that the function is loaded, with when it began (CLOCK_MONOTONIC, ns) and that it ends
// now. `imported`: a JSON array of those of the Load's "watch" that are loaded; empty: not asked.
void QueueLoaded(uint64_t began_ns, std::string_view imported = {});
void DropQueued();
// Before the next frame is read: unless it is there, sends what is queued. Nothing else would wake
// spored where no request is on its way.
void SendQueuedBeforeWaiting();
// Has the kernel copy what the above write to, before somebody waits for it.
void TouchChannel();

}  // namespace spore
