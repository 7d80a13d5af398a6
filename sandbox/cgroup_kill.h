// Ending the members of cgroups and removing their directories.
#pragma once

#include <sys/types.h>

#include <set>
#include <string>
#include <vector>

#include "sandbox/sys/result.h"

namespace spore {

// cgroup.kill (v2, since 5.14): every member of the directory and below, even those just forking.
// ENOENT where the kernel has no such file.
Result<> KillByFile(int directory);

// SIGKILL to every member that is there, in passes, until one finds nobody new; the caller keeps
// them from forking (pids.max 0). Waits for nobody. Adds whom it killed to `killed`.
Result<> KillMembers(int directory, std::set<pid_t>& killed);

// The pids in the directory's cgroup.procs. Empty when it cannot be read.
std::vector<pid_t> Members(int directory);

// The directory's sub-directories, names only.
std::vector<std::string> Subgroups(const std::string& path);

// `path` and everything below it, deepest first.
std::vector<std::string> DeepestFirst(const std::string& path);

}  // namespace spore
