// Which cgroup hierarchies this host has, and where this process is in them.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sandbox/cgroup.h"
#include "sandbox/sys/result.h"

namespace spore {

// What a hierarchy is used for.
struct CgroupRoles {
  bool memory = false, cpu = false, cpuacct = false, pids = false;
  bool any() const { return memory || cpu || cpuacct || pids; }
};

// A mounted hierarchy that Spore uses.
struct CgroupHierarchy {
  bool v2 = false;
  CgroupRoles roles;        // of v2: the controllers that it could enable
  std::string mount_point;  // "/sys/fs/cgroup/memory"
  std::string own_path;     // directory of the calling process, below the mount point
};

struct CgroupHost {
  CgroupLayout layout = CgroupLayout::kV1;
  std::vector<CgroupHierarchy> hierarchies;  // v2 first when there is one
  const CgroupHierarchy* Find(bool CgroupRoles::*role) const;
  const CgroupHierarchy* v2() const;
};

// From the text of /proc/self/mountinfo and /proc/self/cgroup (cgroups(7)) and the controllers that
// the v2 hierarchy's root lists. cpuacct counts as used only where it comes with cpu or where no v2
// hierarchy exists: its cpu.stat tells the same, and one hierarchy fewer is one move fewer.
CgroupHost ParseCgroupHost(std::string_view mountinfo, std::string_view self_cgroup,
                           std::string_view v2_controllers);

// The same of this host. kPrecondition when no hierarchy is mounted.
Result<CgroupHost> DetectCgroupHost();

}  // namespace spore
