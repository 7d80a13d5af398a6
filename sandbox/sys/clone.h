// clone3(2), which glibc does not wrap.
#pragma once

#include <linux/sched.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#include <cstdint>

#include "sandbox/sys/unique_fd.h"

namespace spore {

struct CloneOptions {
  uint64_t flags = 0;            // CLONE_*; CLONE_PIDFD is added when a pidfd is wanted
  int cgroup_fd = -1;            // v2 directory to be born in (CLONE_INTO_CGROUP), or -1
  int exit_signal = 0;           // must be 0 with CLONE_PARENT
  int32_t* child_tid = nullptr;  // CLONE_CHILD_SETTID and CLONE_CHILD_CLEARTID when set
};

// A plain copy of the calling process, fork-like: both return here, the child with 0. Only the
// calling thread exists in the child and no at-fork handler has run. -1 and errno on failure.
inline pid_t CloneProcess(const CloneOptions& options, UniqueFd* pidfd) {
  int pidfd_value = -1;
  uint64_t flags = options.flags;
  if (pidfd != nullptr) flags |= static_cast<uint64_t>(CLONE_PIDFD);
  if (options.cgroup_fd >= 0) flags |= static_cast<uint64_t>(CLONE_INTO_CGROUP);
  if (options.child_tid != nullptr)
    flags |= static_cast<uint64_t>(CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID);
  clone_args args{};
  args.flags = flags;
  args.exit_signal = static_cast<unsigned>(options.exit_signal);
  args.pidfd = reinterpret_cast<uint64_t>(pidfd == nullptr ? nullptr : &pidfd_value);
  args.cgroup = static_cast<unsigned>(options.cgroup_fd < 0 ? 0 : options.cgroup_fd);
  args.child_tid = reinterpret_cast<uint64_t>(options.child_tid);
  const auto pid = static_cast<pid_t>(syscall(SYS_clone3, &args, sizeof args));
  if (pid > 0 && pidfd != nullptr) pidfd->Reset(pidfd_value);
  return pid;
}

}  // namespace spore
