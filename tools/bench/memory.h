// What one more idle instance costs, and what the daemon holds.
#pragma once

#include <string>
#include <vector>

#include "tools/client/connection.h"

namespace spore::bench {

struct MemoryReport {
  unsigned instances = 0;    // idle at once when measured
  double pss_bytes = 0;      // proportional share, user memory, of an instance's processes
  double private_bytes = 0;  // of that, what no other process maps
  double kernel_bytes = 0;   // charged to its cgroup as kernel memory; 0 when not accounted
  double host_bytes =
      0;  // what the host's MemAvailable fell by since the first report, an instance
  double processes = 0;
  double daemon_pss_bytes = 0;  // with all of them alive
  double zygote_pss_bytes = 0;  // of the image that they came from
};

// With so many instances, for each number; ascending. `held`: a function that keeps its instance
// busy for as many milliseconds as its event says.
client::Result<std::vector<MemoryReport>> MeasureMemory(const std::string& socket,
                                                        const std::string& held,
                                                        const std::vector<unsigned>& instances);

}  // namespace spore::bench
