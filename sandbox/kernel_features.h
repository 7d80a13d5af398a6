// What this kernel and host can do, probed once (style of CRIU's kerndat).
#pragma once

#include <string>
#include <vector>

#include "sandbox/cgroup.h"
#include "sandbox/sys/result.h"

namespace spore {

struct KernelFeatures {
  std::string release;   // uname -r
  int landlock_abi = 0;  // 0: none
  bool clone3 = false;
  bool clone_into_cgroup = false;
  bool cgroup_kill = false;
  bool pidfd = false;
  bool open_tree = false;  // open_tree, move_mount, mount_setattr
  bool user_namespaces = false;
  bool time_namespaces = false;
  bool seccomp_filter = false;
  bool io_uring = false;          // with provided buffer rings and multishot receive
  bool fd_count_by_stat = false;  // stat of /proc/self/fd gives the count (6.2)
  CgroupLayout cgroup_layout = CgroupLayout::kV1;
  bool memory_controller = false, cpu_controller = false, pids_controller = false;
  bool swap_accounting = false;
};
KernelFeatures ProbeKernelFeatures();

// One line of `spore check`.
struct HostCheck {
  enum class Verdict { kOk, kWarning, kFailure };
  std::string name;  // "cgroup memory controller"
  Verdict verdict;
  std::string finding;  // "v1 hierarchy at /sys/fs/cgroup/memory"
  std::string advice;   // what to do; empty when ok
};
// Everything that Spore needs or would like: privileges, namespaces, cgroups, seccomp, Landlock,
// io_uring, uid range against /etc/subuid, sysctls, language runtimes, memory, limits.
std::vector<HostCheck> CheckHost(const KernelFeatures& features, uint32_t uid_base,
                                 uint32_t uid_count);

}  // namespace spore
