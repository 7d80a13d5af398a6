// Messages with descriptors over SOCK_SEQPACKET sockets (unix(7), SCM_RIGHTS).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "sandbox/sys/result.h"
#include "sandbox/sys/unique_fd.h"

namespace spore {

constexpr size_t kMaxMessageFds = 32;

// The descriptors of one received message, in fixed space: nothing is allocated.
struct ReceivedFds {
  std::array<UniqueFd, kMaxMessageFds> fd;
  uint32_t count = 0;
};

struct ReceivedMessage {
  size_t bytes = 0;  // 0: the peer closed
  ReceivedFds fds;   // close-on-exec
};

// Sends one message with its descriptors, which stay the caller's. Retries EINTR; EAGAIN of a
// non-blocking socket is returned.
Result<> SendMessage(int socket, std::span<const std::byte> bytes, std::span<const int> fds = {});

// Receives one message into `buffer`. A message or descriptor list that was cut is an error.
Result<ReceivedMessage> ReceiveMessage(int socket, std::span<std::byte> buffer);

template <typename Struct>
Result<> SendStruct(int socket, const Struct& message, std::span<const int> fds = {}) {
  return SendMessage(socket, std::as_bytes(std::span(&message, 1)), fds);
}

}  // namespace spore
