// Where the agent of a session waits while the session is put on disk, and where it wakes up when
// it has been brought back from there; and how it receives.
//
// What leads out of the session cannot be kept on disk, and the channel to spored is all that the
// agent has of it. So it puts one end of a pair of its own in its place and waits there. spored
// fetches the other end by pidfd_getfd(2), from the process that was dumped or the one that was
// restored, and sends a new channel through it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "sandbox/sys/unique_fd.h"

namespace spore {

// Reads exactly so much from kInstanceFd; the descriptors that come along are kept, if wanted.
// False: spored has gone.
bool ReceiveFromSpored(void* buffer, size_t bytes, std::vector<UniqueFd>* fds);

struct Unparked {
  uint64_t ask = 0;       // the kUnpark that is to be answered on the new channel
  bool restored = false;  // from disk
};

// Answers the kPark `ask` and waits. Nothing: spored has gone, or what came is none of its. Whoever
// may trace the tenant may trace the process meanwhile, as CRIU has to.
std::optional<Unparked> WaitParked(uint64_t ask);

}  // namespace spore
