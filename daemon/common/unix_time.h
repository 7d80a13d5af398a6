// The time of day, for what people read and handlers are told. Durations: MonotonicNs.
#pragma once

#include <chrono>
#include <cstdint>

namespace spore {

inline int64_t NowUnixMs() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

}  // namespace spore
