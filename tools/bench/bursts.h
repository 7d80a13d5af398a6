// So many requests at once, and then a pause: what a pool is for.
#pragma once

#include <string>
#include <vector>

#include "tools/bench/concurrent.h"

namespace spore::bench {

struct BurstReport {
  unsigned at_once = 0;
  unsigned bursts = 0;
  unsigned spare = 0;  // `spare-sandboxes` of the daemon that served them
  ConcurrentReport all;
};

// Each size in turn, against a daemon without spare sandboxes and one with enough for the largest
// burst; both are started for it, with `ready-sandboxes` as it is by default. Every request is
// served in a fresh sandbox.
client::Result<std::vector<BurstReport>> MeasureBursts(const std::string& spored,
                                                       const std::string& images,
                                                       const std::vector<unsigned>& sizes,
                                                       unsigned bursts);

}  // namespace spore::bench
