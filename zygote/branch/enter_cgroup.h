// Into a session's cgroup, so that what is done for the session is charged to it.
#pragma once

#include <string>
#include <vector>

#include "sandbox/sys/result.h"

namespace spore {

// The caller, which has one thread; in each hierarchy.
Result<> EnterCgroups(const std::vector<std::string>& paths);

}  // namespace spore
