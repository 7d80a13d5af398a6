// Readiness watches and accepting, for the event loop. Inner header of the event loop.
#pragma once

#include <functional>
#include <memory>

#include "daemon/loop/event_loop.h"
#include "daemon/loop/event_loop_ring.h"

namespace spore {

std::unique_ptr<EventLoop::Watch> MakeReadableWatch(Ring& ring, int fd,
                                                    std::function<void()> ready);
std::unique_ptr<EventLoop::Watch> MakeAcceptWatch(EventLoop& loop, Ring& ring, int listen_fd,
                                                  std::function<void(UniqueFd)> accepted);

}  // namespace spore
