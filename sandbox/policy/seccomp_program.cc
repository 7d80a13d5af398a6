#include "sandbox/policy/seccomp_program.h"

#include <asm/ioctls.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <memory>
#include <set>
#include <string_view>

#include "sandbox/policy/call_groups.h"
#include "sandbox/policy/program_builder.h"

namespace spore {
namespace {

using Builder = ProgramBuilder;

// sched.h has them only as int.
static_assert(kCloneNamespaceFlags ==
              (uint64_t{CLONE_NEWNS} | uint64_t{CLONE_NEWCGROUP} | uint64_t{CLONE_NEWUTS} |
               uint64_t{CLONE_NEWIPC} | uint64_t{CLONE_NEWUSER} | uint64_t{CLONE_NEWPID} |
               uint64_t{CLONE_NEWNET}));

// Calls whose arguments decide. Names, for AllowedCallNames, stand in kArgumentCalls below.
void AddArgumentRules(Builder& base) {
  // Namespace flags are never passed by clone: the zygote uses clone3, whose arguments no filter
  // can see and which the final program refuses.
  base.Add(SCMP_ACT_ALLOW, "clone", SCMP_A0(SCMP_CMP_MASKED_EQ, kCloneNamespaceFlags, 0));
  base.Add(SCMP_ACT_ALLOW, "fcntl");
  base.Add(SCMP_ACT_ALLOW, "ioctl");
  // os.mkfifo(3). Devices need a capability besides, except the overlay whiteout (5.8); regular
  // files and sockets are made by open and bind.
  base.Add(SCMP_ACT_ALLOW, "mknod", SCMP_A1(SCMP_CMP_MASKED_EQ, S_IFMT, S_IFIFO));
  base.Add(SCMP_ACT_ALLOW, "mknodat", SCMP_A2(SCMP_CMP_MASKED_EQ, S_IFMT, S_IFIFO));
  // CompleteNamespaces. clone3 allows the zygote as much; the final program refuses both.
  constexpr uint64_t kOwn = uint64_t{CLONE_NEWNET} | uint64_t{CLONE_NEWCGROUP};
  base.Add(SCMP_ACT_ALLOW, "unshare", SCMP_A0(SCMP_CMP_EQ, kOwn));
  base.Add(SCMP_ACT_ERRNO(EPERM), "unshare", SCMP_A0(SCMP_CMP_NE, kOwn));
  // The size of /tmp.
  base.Add(SCMP_ACT_ALLOW, "mount", SCMP_A3(SCMP_CMP_MASKED_EQ, MS_REMOUNT, MS_REMOUNT));
  for (int option : TenantPrctls())
    base.Add(SCMP_ACT_ALLOW, "prctl", SCMP_A0(SCMP_CMP_EQ, static_cast<uint64_t>(option)));
  for (int option : SetupPrctls())
    base.Add(SCMP_ACT_ALLOW, "prctl", SCMP_A0(SCMP_CMP_EQ, static_cast<uint64_t>(option)));
  base.Add(SCMP_ACT_ALLOW, "socket");
  base.Add(SCMP_ACT_ALLOW, "socketpair");
  // "This file system has none", as copying programs expect, instead of a failure.
  for (std::string_view name :
       {"setxattr", "lsetxattr", "fsetxattr", "removexattr", "lremovexattr", "fremovexattr"})
    base.Add(SCMP_ACT_ERRNO(EOPNOTSUPP), name);
}

constexpr std::array kArgumentCalls = std::to_array<std::string_view>(
    {"clone", "fcntl", "ioctl", "mknod", "mknodat", "prctl", "socket", "socketpair"});

// Of socket(2), what is refused when there is a loopback device: families beside AF_UNIX, AF_INET
// and AF_INET6, and of the last two what is neither TCP nor UDP (a ping socket, MPTCP, SCTP, which
// the kernel would load a module for). A comparison sees 64 bits, so hidden upper ones are among
// what is greater.
void RefuseAllButLoopback(Builder& builder) {
  for (uint64_t family = 0; family < AF_INET6; ++family) {
    if (family != AF_UNIX && family != AF_INET)
      builder.Add(SCMP_ACT_ERRNO(EAFNOSUPPORT), "socket", SCMP_A0(SCMP_CMP_EQ, family));
  }
  builder.Add(SCMP_ACT_ERRNO(EAFNOSUPPORT), "socket", SCMP_A0(SCMP_CMP_GT, uint64_t{AF_INET6}));
  constexpr uint64_t kTypes = 0xf;  // SOCK_TYPE_MASK of linux/net.h; the rest are flags
  for (const uint64_t family : {uint64_t{AF_INET}, uint64_t{AF_INET6}}) {
    const scmp_arg_cmp of_family = SCMP_A0(SCMP_CMP_EQ, family);
    for (uint64_t type = 0; type <= kTypes; ++type) {
      if (type == SOCK_STREAM || type == SOCK_DGRAM) continue;
      const std::array both{of_family, scmp_arg_cmp(SCMP_A1(SCMP_CMP_MASKED_EQ, kTypes, type))};
      builder.Add(SCMP_ACT_ERRNO(EPERM), "socket", both);
    }
    for (uint64_t protocol = 1; protocol < IPPROTO_UDP; ++protocol) {
      if (protocol == IPPROTO_TCP) continue;
      const std::array both{of_family, scmp_arg_cmp(SCMP_A2(SCMP_CMP_EQ, protocol))};
      builder.Add(SCMP_ACT_ERRNO(EPROTONOSUPPORT), "socket", both);
    }
    const std::array both{of_family, scmp_arg_cmp(SCMP_A2(SCMP_CMP_GT, uint64_t{IPPROTO_UDP}))};
    builder.Add(SCMP_ACT_ERRNO(EPROTONOSUPPORT), "socket", both);
  }
  // TLS in the kernel and its kind: much code, and no use between two ends in one sandbox.
  const std::array ulp{scmp_arg_cmp(SCMP_A1(SCMP_CMP_MASKED_EQ, kLow32, uint64_t{IPPROTO_TCP})),
                       scmp_arg_cmp(SCMP_A2(SCMP_CMP_MASKED_EQ, kLow32, uint64_t{TCP_ULP}))};
  builder.Add(SCMP_ACT_ERRNO(ENOPROTOOPT), "setsockopt", ulp);
}

void AddRestoreRules(Builder& builder, NetworkPolicy network) {
  builder.Add(SCMP_ACT_ALLOW, TenantCalls());
  builder.Add(SCMP_ACT_ALLOW, RestoreCalls());
  // Without clone3 CRIU clones as clone(2) does, whose flags can be seen, and chooses pids by
  // ns_last_pid.
  constexpr uint64_t kRefused = kCloneNamespaceFlags | uint64_t{CLONE_PARENT};
  builder.Add(SCMP_ACT_ALLOW, "clone", SCMP_A0(SCMP_CMP_MASKED_EQ, kRefused, 0));
  for (std::string_view name : {"fcntl", "ioctl"}) builder.Add(SCMP_ACT_ALLOW, name);
  builder.Add(SCMP_ACT_ALLOW, "mknod", SCMP_A1(SCMP_CMP_MASKED_EQ, S_IFMT, S_IFIFO));
  builder.Add(SCMP_ACT_ALLOW, "mknodat", SCMP_A2(SCMP_CMP_MASKED_EQ, S_IFMT, S_IFIFO));
  for (const std::span<const int> options : {TenantPrctls(), RestorePrctls()}) {
    for (int option : options)
      builder.Add(SCMP_ACT_ALLOW, "prctl", SCMP_A0(SCMP_CMP_EQ, static_cast<uint64_t>(option)));
  }
  builder.Add(SCMP_ACT_ALLOW, "socketpair", SCMP_A0(SCMP_CMP_EQ, AF_UNIX));
  builder.Add(SCMP_ACT_ALLOW, "socket", SCMP_A0(SCMP_CMP_EQ, AF_UNIX));
  if (!network.allows_loopback()) return;
  constexpr uint64_t kTypes = 0xf;  // SOCK_TYPE_MASK of linux/net.h; the rest are flags
  for (const uint64_t family : {uint64_t{AF_INET}, uint64_t{AF_INET6}}) {
    for (const uint64_t type : {uint64_t{SOCK_STREAM}, uint64_t{SOCK_DGRAM}}) {
      const std::array both{scmp_arg_cmp(SCMP_A0(SCMP_CMP_EQ, family)),
                            scmp_arg_cmp(SCMP_A1(SCMP_CMP_MASKED_EQ, kTypes, type))};
      builder.Add(SCMP_ACT_ALLOW, "socket", both);
    }
  }
}

// 0, -errno, or the id of a thread that could not have it.
int Load(const SeccompProgram& program, unsigned flags) noexcept {
  sock_fprog loaded{
      .len = static_cast<unsigned short>(program.instructions.size()),
      // The kernel does not write through it.
      .filter = const_cast<sock_filter*>(program.instructions.data()),
  };
  const int saved_errno = errno;
  const long rc = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &loaded);
  const int result = rc < 0 ? -errno : static_cast<int>(rc);
  errno = saved_errno;
  return result;
}

}  // namespace

Result<SeccompProgram> CompileBaseProgram() {
  Builder builder(SCMP_ACT_ERRNO(ENOSYS));
  builder.Add(SCMP_ACT_ALLOW, TenantCalls());
  builder.Add(SCMP_ACT_ALLOW, SetupCalls());
  builder.Add(SCMP_ACT_ERRNO(EPERM), ForbiddenCalls());
  AddArgumentRules(builder);
  return builder.Export();
}

Result<SeccompProgram> CompileFinalProgram(NetworkPolicy network) {
  Builder builder(SCMP_ACT_ALLOW);
  for (const CallGroup& group : SetupCalls().first(SetupCalls().size() - LastSetupCalls().size())) {
    for (std::string_view name : group.names) {
      // glibc then falls back to clone, whose flags a filter can see.
      if (name == "clone3")
        builder.Add(SCMP_ACT_ERRNO(ENOSYS), name);
      else
        builder.Add(SCMP_ACT_ERRNO(EPERM), name);
    }
  }
  // The base refuses these too. Twice, because this program is the last word: should the base be
  // loosened for the zygote's sake, tenants gain nothing.
  for (std::string_view name :
       {"umount2", "mount_setattr", "unshare", "pivot_root", "chroot", "fsopen", "fsmount",
        "fsconfig", "fspick", "open_tree", "ptrace", "bpf", "open_by_handle_at", "perf_event_open",
        "userfaultfd", "keyctl"})
    builder.Add(SCMP_ACT_ERRNO(EPERM), name);
  builder.Add(SCMP_ACT_ERRNO(ENOSYS), "io_uring_setup");
  // CLONE_PARENT: the runtime's parent is the supervisor, outside. Its children would be reported
  // as if the zygote had made them, under pids of their choosing.
  constexpr uint64_t kRefusedFlags = kCloneNamespaceFlags | uint64_t{CLONE_PARENT};
  for (uint64_t flag = 1; flag <= kRefusedFlags; flag <<= 1) {
    if (kRefusedFlags & flag)
      builder.Add(SCMP_ACT_ERRNO(EPERM), "clone", SCMP_A0(SCMP_CMP_MASKED_EQ, flag, flag));
  }
  // dnotify; see kWatching in call_groups.cc.
  builder.Add(SCMP_ACT_ERRNO(EPERM), "fcntl", SCMP_A1(SCMP_CMP_MASKED_EQ, kLow32, F_NOTIFY));
  // Keystrokes pushed into a terminal that somebody else reads.
  for (uint64_t request : {uint64_t{TIOCSTI}, uint64_t{TIOCLINUX}})
    builder.Add(SCMP_ACT_ERRNO(EPERM), "ioctl", SCMP_A1(SCMP_CMP_MASKED_EQ, kLow32, request));
  // Huge pages are not charged to a memory cgroup.
  builder.Add(SCMP_ACT_ERRNO(ENOMEM), "mmap",
              SCMP_A3(SCMP_CMP_MASKED_EQ, uint64_t{MAP_HUGETLB}, uint64_t{MAP_HUGETLB}));
  builder.Add(SCMP_ACT_ERRNO(EINVAL), "memfd_create",
              SCMP_A1(SCMP_CMP_MASKED_EQ, uint64_t{MFD_HUGETLB}, uint64_t{MFD_HUGETLB}));
  for (int option : SetupPrctls())
    builder.Add(SCMP_ACT_ERRNO(EPERM), "prctl",
                SCMP_A0(SCMP_CMP_EQ, static_cast<uint64_t>(option)));
  builder.Add(SCMP_ACT_ERRNO(EAFNOSUPPORT), "socketpair", SCMP_A0(SCMP_CMP_NE, AF_UNIX));
  if (network.allows_loopback()) {
    RefuseAllButLoopback(builder);
  } else {
    builder.Add(SCMP_ACT_ERRNO(EAFNOSUPPORT), "socket", SCMP_A0(SCMP_CMP_NE, AF_UNIX));
  }
  return builder.Export();
}

// Every instruction of it is waited for: no more than what the final program has to leave.
Result<SeccompProgram> CompileLastProgram(const DeniedCalls& denied) {
  Builder builder(SCMP_ACT_ALLOW);
  builder.Add(SCMP_ACT_ERRNO(EPERM), LastSetupCalls());
  builder.Add(SCMP_ACT_ERRNO(EPERM), "mount");
  for (std::string_view name : denied.calls()) builder.Add(SCMP_ACT_ERRNO(EPERM), name);
  if (denied.processes()) {
    builder.Add(SCMP_ACT_ERRNO(EPERM), "clone",
                SCMP_A0(SCMP_CMP_MASKED_EQ, uint64_t{CLONE_THREAD}, 0));
  }
  return builder.Export();
}

Result<SeccompProgram> CompileInitProgram() {
  // Whatever else init does is a fault; its end takes the whole pid namespace along.
  Builder builder(SCMP_ACT_KILL_PROCESS);
  for (std::string_view name :
       {"read", "write", "close", "munmap", "wait4", "waitid", "poll", "ppoll", "pause",
        "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "rt_sigsuspend", "rt_sigtimedwait",
        "restart_syscall", "exit", "exit_group"})
    builder.Add(SCMP_ACT_ALLOW, name);
  return builder.Export();
}

Result<SeccompProgram> CompileRestoreProgram(NetworkPolicy network) {
  Builder builder(SCMP_ACT_ERRNO(ENOSYS));
  AddRestoreRules(builder, network);
  return builder.Export();
}

Result<SeccompProgram> CompileRestoreProbeProgram() {
  Builder builder(SCMP_ACT_ERRNO(ENOSYS));
  AddRestoreRules(builder, NetworkPolicy(LoopbackSockets()));
  builder.Add(SCMP_ACT_ALLOW, RestoreProbeCalls());
  return builder.Export();
}

std::vector<std::string> AllowedCallNames() {
  std::set<std::string> names(kArgumentCalls.begin(), kArgumentCalls.end());
  for (const CallGroup& group : TenantCalls()) names.insert(group.names.begin(), group.names.end());
  std::erase_if(names, [](const std::string& name) {
    return seccomp_syscall_resolve_name(name.c_str()) < 0;
  });
  return {names.begin(), names.end()};
}

int LoadSeccompProgram(const SeccompProgram& program) noexcept {
  return Load(program, 0);
}

int LoadSeccompProgramEverywhere(const SeccompProgram& program) noexcept {
  const int result = Load(program, SECCOMP_FILTER_FLAG_TSYNC);
  return result > 0 ? -ESRCH : result;
}

}  // namespace spore
