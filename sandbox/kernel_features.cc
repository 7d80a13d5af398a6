#include "sandbox/kernel_features.h"

#include <linux/io_uring.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <csignal>

#include "sandbox/cgroup_file.h"
#include "sandbox/cgroup_layout.h"
#include "sandbox/sys/unique_fd.h"

#ifndef SYS_mount_setattr
#define SYS_mount_setattr 442
#endif
#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444
#endif

namespace spore {
namespace {

// A call with arguments that no kernel accepts says ENOSYS exactly when it does not exist.
bool CallExists(long number) {
  return syscall(number, -1, nullptr, 0, 0, 0, 0) >= 0 || errno != ENOSYS;
}

// clone3 looks at the descriptor after it has accepted the flag: EBADF instead of EINVAL (or
// E2BIG from kernels whose struct ends before the field).
bool CanCloneIntoCgroup() {
  struct clone_args args = {};
  args.flags = CLONE_INTO_CGROUP;
  args.exit_signal = SIGCHLD;
  args.cgroup = INT_MAX;
  return syscall(SYS_clone3, &args, sizeof args) < 0 && errno == EBADF;
}

int LandlockAbi() {
  constexpr unsigned kVersion = 1;  // LANDLOCK_CREATE_RULESET_VERSION
  const long abi = syscall(SYS_landlock_create_ruleset, nullptr, 0, kVersion);
  return abi < 0 ? 0 : static_cast<int>(abi);
}

bool HasSeccompFilter() {
  uint32_t action = SECCOMP_RET_KILL_PROCESS;
  return syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0;
}

bool HasUserNamespaces() {
  if (access("/proc/self/ns/user", F_OK) != 0) return false;
  auto limit = ReadFile("/proc/sys/user/max_user_namespaces");
  return !limit || *limit != "0\n";
}

// Provided buffer rings came with 5.19, multishot receive with 6.0; the latter cannot be asked for,
// but SEND_ZC, of the same release, can.
bool HasIoUring() {
  io_uring_params params = {};
  UniqueFd ring(static_cast<int>(syscall(SYS_io_uring_setup, 2, &params)));
  if (!ring) return false;
  constexpr unsigned kOps = 64;
  alignas(
      io_uring_probe) char space[sizeof(io_uring_probe) + kOps * sizeof(io_uring_probe_op)] = {};
  auto* probe = reinterpret_cast<io_uring_probe*>(space);
  if (syscall(SYS_io_uring_register, ring.get(), IORING_REGISTER_PROBE, probe, kOps) < 0 ||
      probe->last_op < IORING_OP_SEND_ZC)
    return false;
  const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  void* memory = mmap(nullptr, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return false;
  io_uring_buf_reg buffers = {};
  buffers.ring_addr = reinterpret_cast<uintptr_t>(memory);
  buffers.ring_entries = 1;
  const bool registered =
      syscall(SYS_io_uring_register, ring.get(), IORING_REGISTER_PBUF_RING, &buffers, 1) == 0;
  ring.Reset();
  munmap(memory, page);
  return registered;
}

// The file is in every cgroup but the root, so a group is made to look.
bool HasCgroupKill(const CgroupHierarchy& v2) {
  const std::string probe = v2.mount_point + "/spore-probe-" + std::to_string(getpid());
  const bool made = mkdir(probe.c_str(), 0755) == 0;
  const std::string where = made ? probe : v2.own_path;
  const bool has = access((where + "/cgroup.kill").c_str(), F_OK) == 0;
  if (made) rmdir(probe.c_str());
  return has;
}

bool HasSwapAccounting(const CgroupHierarchy& memory) {
  if (!memory.v2)
    return access((memory.mount_point + "/memory.memsw.limit_in_bytes").c_str(), F_OK) == 0;
  auto command_line = ReadFile("/proc/cmdline");
  return !command_line || (command_line->find("swapaccount=0") == std::string::npos &&
                           command_line->find("cgroup.memory=noswap") == std::string::npos);
}

void ProbeCgroups(KernelFeatures& features) {
  auto host = DetectCgroupHost();
  if (!host) return;
  features.cgroup_layout = host->layout;
  features.memory_controller = host->Find(&CgroupRoles::memory) != nullptr;
  features.cpu_controller = host->Find(&CgroupRoles::cpu) != nullptr;
  features.pids_controller = host->Find(&CgroupRoles::pids) != nullptr;
  if (const CgroupHierarchy* v2 = host->v2()) features.cgroup_kill = HasCgroupKill(*v2);
  if (const CgroupHierarchy* memory = host->Find(&CgroupRoles::memory))
    features.swap_accounting = HasSwapAccounting(*memory);
}

}  // namespace

KernelFeatures ProbeKernelFeatures() {
  KernelFeatures features;
  utsname names;
  if (uname(&names) == 0) features.release = names.release;
  features.landlock_abi = LandlockAbi();
  features.clone3 = CallExists(SYS_clone3);
  features.clone_into_cgroup = features.clone3 && CanCloneIntoCgroup();
  features.pidfd = CallExists(SYS_pidfd_open);
  features.open_tree =
      CallExists(SYS_open_tree) && CallExists(SYS_move_mount) && CallExists(SYS_mount_setattr);
  features.user_namespaces = HasUserNamespaces();
  features.time_namespaces = access("/proc/self/ns/time", F_OK) == 0;
  features.seccomp_filter = HasSeccompFilter();
  features.io_uring = HasIoUring();
  struct stat descriptors;
  features.fd_count_by_stat = stat("/proc/self/fd", &descriptors) == 0 && descriptors.st_size > 0;
  ProbeCgroups(features);
  return features;
}

}  // namespace spore
