// Keeps some of the host's memory free: when it gets short, ends idle instances, then idle zygotes.
//
// Short is: less available (MemAvailable of proc(5)) than the configuration's memory-reserve, or
// programs that stand still for want of memory for more than a tenth of the time (the kernel's
// Documentation/accounting/psi.rst). Looked at every five seconds, and every second while it is.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/loop/event_loop.h"

namespace spore {

// What could be ended.
struct MemoryHolder {
  uint64_t id = 0;
  uint64_t bytes = 0;       // that its end gives back
  uint64_t idle_ms = 0;     // since it was used last
  uint64_t rebuild_us = 0;  // what it takes to have it again
};
// The order in which to end them: whoever has held most memory for longest, for what it would
// cost to have it again.
std::vector<uint64_t> ByWorth(const std::vector<MemoryHolder>& holders);

// The files' contents; nothing where they are not what they should be.
std::optional<uint64_t> ParseMemAvailable(std::string_view meminfo);
// Percent of the last ten seconds in which somebody waited for memory.
std::optional<double> ParseMemoryStall(std::string_view pressure);

class MemoryKeeper {
 public:
  struct Evictor {
    // Ends at most so many instances, zygotes; how many it did. The reason is for people.
    std::function<size_t(size_t most, const std::string& reason)> instances;
    std::function<size_t(size_t most, const std::string& reason)> zygotes;
  };
  MemoryKeeper(EventLoop& loop, uint64_t reserve_bytes, Evictor evictor);
  ~MemoryKeeper();
  MemoryKeeper(const MemoryKeeper&) = delete;
  MemoryKeeper& operator=(const MemoryKeeper&) = delete;

 private:
  void Look();
  // Why memory is short; empty when it is not.
  std::string Shortage() const;

  EventLoop& loop_;
  uint64_t reserve_bytes_;
  Evictor evictor_;
  EventLoop::TimerId timer_ = 0;
  bool told_ = false;
};

}  // namespace spore
