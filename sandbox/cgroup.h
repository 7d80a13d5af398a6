// Control groups: one interface over v2 hosts and hybrid hosts (v1 controllers, with or without a
// controller-less v2 tree beside them).
//
// Layout below the root that spored is given (systemd's delegated slice, or the hierarchy's root):
//
//   <root>/<name>/daemon           v2 with controllers only: spored itself, when it had to move
//   <root>/<name>/<group>/zygote   an image's supervisor and zygote
//   <root>/<name>/<group>/<id>     one sandbox: its init and the tenant's processes
//
// CLONE_INTO_CGROUP checks the *caller's* credentials against cgroup.procs of the target and of
// the common ancestor (cgroups(7), "Delegation"), so a group's v2 cgroup.procs files belong to the
// root uid of its zygote's user namespace. Limit files never do. Where v2 is mounted with
// nsdelegate (systemd does), both cgroups must lie inside the cgroup namespace of the caller too,
// else the clone fails with ENOENT: a zygote stays in the host's cgroup namespace. v1 moves are
// checked against the opener of the file (kernel commit 1756d7994ad8): an open descriptor is
// enough.
//
// Thread rule: not thread-safe; one owner thread. Nothing here waits for other processes except
// CgroupTree::Sweep, which is for start-up and shutdown.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "sandbox/sys/result.h"
#include "sandbox/sys/unique_fd.h"

namespace spore {

enum class CgroupLayout { kV2, kHybrid, kV1 };

struct CgroupLimits {
  uint64_t memory_bytes = 0;  // memory.max and swap.max=0, or memory(+memsw).limit_in_bytes
  uint32_t cpu_millis = 0;    // thousandths of a CPU; cpu.max or cfs quota
  uint32_t pids = 0;          // pids.max
  // What TCP and UDP hold counts: v2 does so by itself, v1 apart from memory_bytes, up to a quarter
  // of it.
  bool sockets = false;
  // Out of memory, all of its processes end (v2; v1 has no such thing), not the largest alone.
  bool end_whole = true;
  bool operator==(const CgroupLimits&) const = default;
};

struct CgroupUsage {
  uint64_t memory_bytes = 0;
  uint64_t memory_peak_bytes = 0;
  uint64_t oom_kills = 0;  // processes the oom killer ended in this cgroup
  uint64_t cpu_us = 0;
  uint32_t pids = 0;
  uint64_t pids_limit_hits = 0;  // forks refused by pids.max
};

// The cgroup of one sandbox (or zygote) in every hierarchy that is used. Owns the directories:
// the destructor kills what is left inside and removes them, retrying is CgroupTree's job (an
// rmdir can fail with EBUSY while a killed process is still exiting).
class Cgroup {
 public:
  ~Cgroup();
  Cgroup(Cgroup&&) noexcept;
  Cgroup& operator=(Cgroup&&) noexcept;

  Result<> SetLimits(const CgroupLimits& limits);  // writes only what differs from the last call
  const CgroupLimits& limits() const;
  Result<CgroupUsage> Usage() const;  // reads a handful of files; no wait
  uint64_t MemoryPeak() const;        // one of them, for the end of each request; 0: not known

  // What a process needs to get in: the v2 directory for clone3(CLONE_INTO_CGROUP), or -1; and one
  // writable `tasks` file a v1 hierarchy. A process writes "0" to each while it has one thread
  // only: that moves the writer and, unlike a write to cgroup.procs, takes no lock of the whole
  // kernel (docs/decisions/0003-favordynmods.md). Borrowed.
  int v2_directory() const;  // none of both after Settle
  const std::vector<UniqueFd>& v1_procs() const;

  // Made by CreateBare, and not yet passed to Complete.
  bool bare() const;

  // Nobody will enter any more: closes what was kept open for that. What else is done with the
  // cgroup opens its directories each time.
  void Settle();

  Result<> Attach(pid_t pid);  // from outside; 0 means the caller
  // cgroup.kill, else pids.max 0 (until the next SetLimits) and SIGKILL to every member. Does not
  // wait for their end.
  Result<> Kill();
  // Stops every process in it where it is, or lets them go on (cgroup.freeze, v2 and hybrid). Takes
  // a moment: IsFrozen tells when it is done. Killing works all the same.
  Result<> Freeze(bool freeze);
  bool IsFrozen() const;
  // Whether Kill is one write, which nobody in it can outrun.
  bool kills_at_once() const;
  std::vector<std::string> Paths() const;

 private:
  friend class CgroupTree;
  struct Impl;
  explicit Cgroup(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

struct CgroupTreeOptions {
  std::string name = "spore";       // the sub-group under which everything is made
  std::optional<std::string> root;  // v2: a delegated directory; default: detect
  bool favordynmods = false;        // v1 and hybrid: see cgroup_favor_dynmods.h
  bool use_cgroup_kill = true;      // false: kill as on kernels before 5.14 (for tests)
};

// The daemon's part of the cgroup hierarchies.
class CgroupTree {
 public:
  // Detects the layout, makes <name> in each hierarchy, enables controllers. On v2 with the
  // caller's processes in the way ("no internal processes"), moves the caller into <name>/daemon.
  static Result<CgroupTree> Open(const CgroupTreeOptions& options);
  ~CgroupTree();  // removes <name> in every hierarchy and the favordynmods mount
  CgroupTree(CgroupTree&&) noexcept;
  CgroupTree& operator=(CgroupTree&&) noexcept;

  CgroupLayout layout() const;
  bool favors_dynmods() const;  // whether the option could be switched on
  // One group an image; `zygote_uid` is the host uid that is root in its user namespace.
  Result<> AddGroup(const std::string& group, uid_t zygote_uid);
  Result<> RemoveGroup(const std::string& group);
  Result<Cgroup> Create(const std::string& group, const std::string& id,
                        const CgroupLimits& limits);
  // Hybrid hosts: in the v2 hierarchy only, where it can be killed as a whole; whose processes are
  // elsewhere in those of v1. They limit it, and each keeps tens of KiB for it, more the more there
  // are (docs/decisions/0016). Elsewhere as Create.
  Result<Cgroup> CreateBare(const std::string& group, const std::string& id,
                            const CgroupLimits& limits);
  // Makes the rest of a bare one and moves those of its processes there, each of one thread.
  Result<> Complete(Cgroup& cgroup, const CgroupLimits& limits, std::span<const pid_t> processes);
  // Directories whose rmdir said EBUSY are kept and tried again here; returns how many remain.
  size_t RetryRemovals();
  // Kills every process found below <name> and removes all groups: what a dead daemon left behind.
  // Waits for their end. Gives how many processes it killed. The daemon's own group stays.
  Result<size_t> Sweep();

 private:
  struct Impl;
  explicit CgroupTree(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace spore
