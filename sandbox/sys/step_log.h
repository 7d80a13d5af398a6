// Named, timed steps of a start, kept in fixed space so that they can be recorded between a clone
// and the end of confinement (no allocation) and sent as they are over a socket.
#pragma once

#include <cstdint>
#include <cstring>
#include <ctime>

namespace spore {

// One timed step. Times are CLOCK_MONOTONIC in ns, comparable across the processes of one host.
struct TimedStep {
  char name[24] = {};
  uint64_t start_ns = 0;
  uint64_t end_ns = 0;
};

struct StepLog {
  static constexpr uint32_t kMaxSteps = 24;
  uint32_t count = 0;
  uint32_t reserved = 0;
  TimedStep step[kMaxSteps];

  static uint64_t Now() {
    timespec t{};
    clock_gettime(CLOCK_MONOTONIC, &t);
    return static_cast<uint64_t>(t.tv_sec) * 1'000'000'000u + static_cast<uint64_t>(t.tv_nsec);
  }

  // Records a step that began at `start_ns` and ends now; returns now, the start of the next one.
  uint64_t Add(const char* name, uint64_t start_ns) {
    const uint64_t now = Now();
    if (count < kMaxSteps) {
      TimedStep& s = step[count++];
      strncpy(s.name, name, sizeof s.name - 1);
      s.start_ns = start_ns;
      s.end_ns = now;
    }
    return now;
  }
};

}  // namespace spore
