// What `spore-zygote branch` is told to do, by spored.
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>
#include <vector>

#include "sandbox/sys/result.h"

namespace spore {

struct BranchOptions {
  struct Target {
    uid_t uid = 0;  // of its processes, as the host sees it
    std::vector<std::string> cgroups;
  };
  pid_t interpreter = 0;  // of the source, in its own pid namespace; 0: it has none
  bool running = false;   // it runs a piece of code, as far as spored knows
  bool alone = false;     // other processes of the source are left out
  std::string cgroup;     // of the source: one that lists its processes
  std::vector<Target> targets;
};

// Words "interpreter=N", "running", "alone", "cgroup=PATH" and, for each branch, "target=UID" with
// its "enter=PATH" after it; each with a NUL behind it.
Result<BranchOptions> ParseBranchOptions(std::string_view words);

}  // namespace spore
