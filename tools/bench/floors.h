// What the same host needs for the bare mechanisms: a relayed message, a fork.
#pragma once

#include <sys/types.h>

#include "tools/client/error.h"
#include "tools/client/fd.h"

namespace spore::bench {

// Client to relay to worker and back, 64 bytes each way, over UNIX socket pairs: two processes that
// do nothing else, standing in for the daemon and an instance.
class RelayFloor {
 public:
  static client::Result<RelayFloor> Make();
  ~RelayFloor();
  RelayFloor(RelayFloor&& other) noexcept;
  RelayFloor& operator=(RelayFloor&&) = delete;
  client::Result<double> Time();

 private:
  RelayFloor() = default;
  client::Fd client_;
  pid_t relay_ = -1;
  pid_t worker_ = -1;
};

// Forks this process, which holds `touched_bytes` more of touched memory than else; the child
// writes one byte back and leaves.
class ForkFloor {
 public:
  static client::Result<ForkFloor> Make(std::size_t touched_bytes);
  ~ForkFloor();
  ForkFloor(ForkFloor&& other) noexcept;
  ForkFloor& operator=(ForkFloor&&) = delete;
  client::Result<double> Time();

 private:
  ForkFloor() = default;
  client::Fd control_;
  pid_t parent_ = -1;
};

}  // namespace spore::bench
