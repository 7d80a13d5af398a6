// What Cgroup and CgroupTree share.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "sandbox/cgroup.h"
#include "sandbox/cgroup_layout.h"
#include "sandbox/sys/unique_fd.h"

namespace spore {

// Directories that could not be removed yet.
struct PendingRemovals {
  std::vector<std::string> paths;
  void RemoveOrKeep(const std::string& path);
};

// A cgroup's directory in one hierarchy.
struct CgroupPlace {
  bool v2 = false;
  CgroupRoles roles;
  std::string path;
  UniqueFd directory;
};

// Its directory for one use: the one that is open, or one opened for it.
class OpenPlace {
 public:
  explicit OpenPlace(const CgroupPlace& place);
  // kSystem when it cannot be opened.
  Result<> Check() const;
  int fd() const { return own_ ? own_.get() : place_.directory.get(); }

 private:
  const CgroupPlace& place_;
  UniqueFd own_;
  int error_ = 0;
};

struct Cgroup::Impl {
  ~Impl();
  const CgroupPlace* v2() const;
  Result<> StopForks();
  bool KillAll();  // through cgroup.kill; false where there is none

  std::string group, id;
  bool bare = false;                // only the first of `places` is there
  std::vector<CgroupPlace> places;  // v2 first
  std::vector<UniqueFd> v1_procs;
  CgroupLimits limits;
  bool use_cgroup_kill = true;
  bool forks_stopped = false;  // pids.max is 0 whatever `limits` says
  std::shared_ptr<PendingRemovals> pending;
};

}  // namespace spore
