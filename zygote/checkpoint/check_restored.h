// Whether what was restored is as confined as what a fresh session runs: looked at from outside,
// while it is held. Nothing is believed that it or CRIU says.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "sandbox/sys/result.h"
#include "zygote/checkpoint/clock_offsets.h"
#include "zygote/checkpoint/restored_processes.h"
#include "zygote/checkpoint/workplace.h"

namespace spore {

struct Confinement {
  pid_t init = 0;                         // whose uid and namespaces they must have
  bool loopback = false;                  // whether they may have TCP and UDP
  ClockOffsets clocks;                    // 0: the init's
  std::vector<ForbiddenMount> forbidden;  // of which they may hold nothing
};

// Of every thread: ids, capabilities, no_new_privs, that it has exactly `filters` seccomp filters.
// Of every process: namespaces, root. Of every descriptor, mapping and working directory: that it
// lies where a tenant can be, and of sockets that a tenant could have made them.
Result<> CheckRestored(const std::vector<RestoredProcess>& processes,
                       const Confinement& confinement, int filters);
// Of every thread.
Result<> CheckFilters(const std::vector<RestoredProcess>& processes, int filters);

}  // namespace spore
