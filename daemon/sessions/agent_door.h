// The way to an agent that has let go of its channel (zygote/hosts/common/session_park.h): the
// other end of a pair of its own, which is the tenant's, and is not believed to be what it should
// be.
#pragma once

#include <cstdint>
#include <string>

#include "sandbox/sys/result.h"
#include "sandbox/sys/unique_fd.h"

namespace spore {

// pidfd_getfd(2): the agent's descriptor of that number. An error, too, when it is no UNIX stream.
// Blocks while the agent executes a program, if it has been made to.
Result<UniqueFd> FetchDoor(const UniqueFd& agent, int32_t descriptor);
// Of one that came by another way.
Result<> CheckDoor(const UniqueFd& door);
// One frame and one descriptor. Does not wait: what has never been used has room.
Result<> SendThroughDoor(const UniqueFd& door, const std::string& frame, int fd);

}  // namespace spore
