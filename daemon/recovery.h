// What a daemon that died left behind on the host, apart from its files (FunctionStore::Open).
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "sandbox/cgroup.h"
#include "sandbox/sys/result.h"

namespace spore {

// Unmounts everything below (not at) `runtime_dir`, deepest first. Call with the lock held and
// before CgroupTree::Open, which mounts there. Returns how many there were.
Result<size_t> RemoveStaleMounts(const std::string& runtime_dir);

// The mount points below `directory` in the text of a mountinfo file (proc(5)), deepest first.
std::vector<std::string> MountPointsBelow(const std::string& mountinfo,
                                          const std::string& directory);

// Kills what is left in the cgroups and removes them. Call after CgroupTree::Open. What dies here
// are supervisors whose daemon was killed an instant ago; most have died of that already.
Result<size_t> SweepCgroups(CgroupTree& cgroups);

}  // namespace spore
