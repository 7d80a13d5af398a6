// Which sockets a sandbox may make. Nothing is the default; each weakening is a type of its own, so
// that a search for the type finds every place that grants it.
#pragma once

namespace spore {

// A weakening: stream and datagram sockets of AF_INET and AF_INET6 (TCP and UDP; no raw ones), in a
// network namespace whose only device is its own `lo`, which is up. The kernel's TCP/IP is then
// open to a tenant; no host, neighbour or network is nearer than without it.
struct LoopbackSockets {};

class NetworkPolicy {
 public:
  // AF_UNIX only.
  constexpr NetworkPolicy() = default;
  constexpr explicit NetworkPolicy(LoopbackSockets) : loopback_(true) {}

  constexpr bool allows_loopback() const { return loopback_; }

 private:
  bool loopback_ = false;
};

}  // namespace spore
