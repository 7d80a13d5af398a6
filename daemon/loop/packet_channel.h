// A SOCK_SEQPACKET socket to a supervisor or a zygote: whole messages, descriptors beside them.
//
// A message that does not fit into the socket now waits in a queue and is tried again, in order.
// Loop thread only.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "daemon/loop/event_loop.h"
#include "sandbox/sys/result.h"
#include "sandbox/sys/unique_fd.h"

namespace spore {

struct Packet {
  std::span<const std::byte> data;  // valid during the call
  std::vector<UniqueFd> fds;
  bool fds_lost = false;  // some came that this process had no room for; then `fds` is empty
  pid_t sender = 0;       // in this process's pid namespace (SCM_CREDENTIALS, unix(7)); 0: unknown

  // The message as `Message` when it has exactly that size, else nullptr.
  template <typename Message>
  bool CopyTo(Message& message) const {
    if (data.size() != sizeof(Message)) return false;
    __builtin_memcpy(static_cast<void*>(&message), data.data(), sizeof(Message));
    return true;
  }
};

struct SocketPair {
  UniqueFd ours;    // non-blocking, receives credentials
  UniqueFd theirs;  // blocking
};
// A pair with large buffers. Both ends are CLOEXEC.
Result<SocketPair> MakePacketPair();

class PacketChannel {
 public:
  struct Handlers {
    // Destroying the channel inside a handler is allowed.
    std::function<void(Packet& packet)> on_packet;
    std::function<void(int errno_value)> on_close;  // 0: the peer has gone; last call
  };
  PacketChannel(EventLoop& loop, UniqueFd socket, Handlers handlers);
  ~PacketChannel();
  PacketChannel(const PacketChannel&) = delete;
  PacketChannel& operator=(const PacketChannel&) = delete;

  // Sends a message and duplicates of `fds` (borrowed). An error means that the peer has gone or
  // that descriptors cannot be passed; nothing was sent.
  Result<> Send(std::span<const std::byte> message, std::span<const int> fds = {});
  template <typename Message>
  Result<> SendStruct(const Message& message, std::span<const int> fds = {}) {
    return Send(std::as_bytes(std::span<const Message, 1>(&message, 1)), fds);
  }

 private:
  struct Waiting {
    std::vector<std::byte> message;
    std::vector<UniqueFd> fds;
  };
  void Receive();
  void Flush();
  void Close(int errno_value);

  EventLoop& loop_;
  UniqueFd socket_;
  Handlers handlers_;
  std::deque<Waiting> waiting_;
  EventLoop::TimerId retry_timer_ = 0;
  std::shared_ptr<bool> alive_;  // false once destroyed; handlers may destroy the channel
  std::unique_ptr<EventLoop::Watch> watch_;
};

}  // namespace spore
