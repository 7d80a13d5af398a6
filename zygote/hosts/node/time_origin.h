// The moment at which Node believes to have started, set to the moment at which a tenant got the
// process: performance.timeOrigin and now(), process.uptime().
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "sandbox/sys/result.h"

namespace spore {

class TimeOrigin {
 public:
  // A time at which something is said to have begun: somewhere in [least, most], in ns of the
  // monotonic clock.
  struct Window {
    double least = 0, most = 0;
  };
  // `wall_ms` is performance.timeOrigin. The windows are of hrtime less performance.now(), and less
  // process.uptime(): so narrow that every word in them is the origin, as integer or as double.
  // Again, it forgets what it had found.
  Result<> Find(double wall_ms, std::span<const Window> windows);

  // In a child.
  void SetToNow() const;

 private:
  std::vector<uint64_t*> integers_;  // ns of the monotonic clock
  std::vector<double*> doubles_;     // the same
  std::vector<double*> millis_;      // the same in ms, as Node 18 has it
  std::vector<double*> wall_us_;     // since 1970
  std::vector<double*> wall_ms_;
};

}  // namespace spore
