#include "daemon/unpack/confine.h"

#include <fmt/format.h>
#include <grp.h>
#include <linux/landlock.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/capability.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <memory>

namespace spore::unpack {
namespace {

Result<> LimitResource(__rlimit_resource resource, const char* name, uint64_t value) {
  rlimit limit = {value, value};
  if (setrlimit(resource, &limit) != 0) return SysError("setrlimit", name);
  return {};
}

Result<> LimitResources(const Confinement& confinement) {
  SPORE_TRY(LimitResource(RLIMIT_FSIZE, "RLIMIT_FSIZE", confinement.file_bytes));
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)  // they reserve terabytes
  SPORE_TRY(LimitResource(RLIMIT_AS, "RLIMIT_AS", confinement.memory_bytes));
#endif
  // Removing a folder holds a descriptor for each above it (image_tree.cc).
  SPORE_TRY(LimitResource(RLIMIT_NOFILE, "RLIMIT_NOFILE", confinement.replaces ? 256 : 32));
  SPORE_TRY(LimitResource(RLIMIT_CPU, "RLIMIT_CPU", confinement.cpu_seconds));
  SPORE_TRY(LimitResource(RLIMIT_CORE, "RLIMIT_CORE", 0));
  SPORE_TRY(LimitResource(RLIMIT_MEMLOCK, "RLIMIT_MEMLOCK", 0));
  // A file that grows beyond RLIMIT_FSIZE gives EFBIG instead of a signal.
  if (signal(SIGXFSZ, SIG_IGN) == SIG_ERR) return SysError("signal", "SIGXFSZ");
  return {};
}

Result<> DropIdentity(const Confinement& confinement) {
  for (int cap = 0; cap <= CAP_LAST_CAP || prctl(PR_CAPBSET_READ, cap) >= 0; ++cap) {
    if (prctl(PR_CAPBSET_DROP, cap) != 0 && errno != EINVAL) {
      return SysError("drop from the bounding set", std::to_string(cap));
    }
  }
  if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0) {
    return SysError("clear ambient capabilities");
  }
  if (setgroups(0, nullptr) != 0) return SysError("setgroups");
  if (setresgid(confinement.gid, confinement.gid, confinement.gid) != 0) {
    return SysError("setresgid", std::to_string(confinement.gid));
  }
  if (setresuid(confinement.uid, confinement.uid, confinement.uid) != 0) {
    return SysError("setresuid", std::to_string(confinement.uid));
  }
  std::unique_ptr<std::remove_pointer_t<cap_t>, int (*)(void*)> none(cap_init(), cap_free);
  if (!none || cap_set_proc(none.get()) != 0) return SysError("drop capabilities");
  return {};
}

// The kernel's structures as of ABI 6; older kernels take the shorter forms (landlock(7)).
struct RulesetAttr {
  uint64_t handled_access_fs;
  uint64_t handled_access_net;
  uint64_t scoped;
};

Result<> RestrictPaths(const Confinement& confinement) {
  long abi = syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION);
  if (abi < 0) {
    if (errno == ENOSYS || errno == EOPNOTSUPP) return {};  // not in this kernel, or switched off
    return SysError("ask for Landlock");
  }
  RulesetAttr attr = {};
  // Rights in order of appearance: 13 in ABI 1, then refer (2), truncate (3), ioctl_dev (5).
  int rights = abi >= 5 ? 16 : abi >= 3 ? 15 : abi == 2 ? 14 : 13;
  attr.handled_access_fs = (1ull << rights) - 1;
  size_t size = sizeof attr.handled_access_fs;
  if (abi >= 4) {
    attr.handled_access_net = 3;  // bind and connect over TCP: none allowed
    size = offsetof(RulesetAttr, scoped);
  }
  if (abi >= 6) {
    attr.scoped = 3;  // no abstract sockets and no signals to outside
    size = sizeof attr;
  }
  int ruleset = static_cast<int>(syscall(SYS_landlock_create_ruleset, &attr, size, 0));
  if (ruleset < 0) return SysError("make a Landlock ruleset");
  landlock_path_beneath_attr beneath = {};
  beneath.allowed_access = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE |
                           LANDLOCK_ACCESS_FS_READ_DIR | LANDLOCK_ACCESS_FS_MAKE_REG |
                           LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_SYM;
  if (confinement.replaces)
    beneath.allowed_access |= LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR;
  beneath.parent_fd = confinement.directory;
  bool done =
      syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &beneath, 0) == 0 &&
      syscall(SYS_landlock_restrict_self, ruleset, 0) == 0;
  int saved = errno;
  close(ruleset);
  if (!done) return SysErrorOf(saved, "restrict with Landlock");
  return {};
}

Result<> RestrictCalls(bool replaces) {
  struct Release {
    void operator()(void* context) const { seccomp_release(context); }
  };
  std::unique_ptr<void, Release> filter(seccomp_init(SCMP_ACT_KILL_PROCESS));
  if (!filter) return MakeError(ErrorKind::kInternal, "seccomp_init failed");
  int rc = 0;
  auto add = [&](uint32_t action, const char* name, auto... args) {
    int number = seccomp_syscall_resolve_name(name);
    if (number == __NR_SCMP_ERROR || rc != 0) return;  // not on this architecture
    rc = seccomp_rule_add(filter.get(), action, number, sizeof...(args), args...);
  };
  for (const char* name :
       {"read", "write", "close", "fstat", "lseek", "brk", "munmap", "mremap", "madvise", "futex",
        "getrandom", "openat2", "mkdirat", "symlinkat", "clock_gettime", "exit", "exit_group",
        "rt_sigreturn", "rt_sigprocmask"}) {
    add(SCMP_ACT_ALLOW, name);
  }
  if (replaces) {
    for (const char* name : {"fchmod", "getdents64", "renameat2", "unlinkat"})
      add(SCMP_ACT_ALLOW, name);
  }
  // No memory becomes executable.
  for (const char* name : {"mmap", "mprotect"}) {
    add(SCMP_ACT_ALLOW, name, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
  }
  // What libraries try and can do without (character sets, time zones, abort's own signal).
  for (const char* name : {"open", "openat", "access", "faccessat", "stat", "newfstatat",
                           "readlink", "readlinkat", "gettid", "getpid", "tgkill"}) {
    add(SCMP_ACT_ERRNO(EACCES), name);
  }
  if (rc == 0) rc = seccomp_load(filter.get());
  if (rc != 0) return SysErrorOf(-rc, "load the seccomp filter");
  return {};
}

}  // namespace

Result<> Confine(const Confinement& confinement) {
  if (confinement.uid == 0 || confinement.gid == 0) {
    return MakeError(ErrorKind::kInternal, "--uid and --gid must not be 0");
  }
  pid_t parent = getppid();
  if (close_range(static_cast<unsigned>(confinement.keep_fds_below), UINT_MAX, 0) != 0) {
    return SysError("close_range");
  }
  umask(0);
  SPORE_TRY(LimitResources(confinement));
  SPORE_TRY(DropIdentity(confinement));
  // After the change of identity, which would clear it (PR_SET_PDEATHSIG(2const)).
  if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) return SysError("prctl", "PR_SET_PDEATHSIG");
  if (getppid() != parent) return MakeError(ErrorKind::kInternal, "the parent has ended");
  if (prctl(PR_SET_DUMPABLE, 0) != 0) return SysError("prctl", "PR_SET_DUMPABLE");
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return SysError("prctl", "no_new_privs");
  SPORE_TRY(RestrictPaths(confinement));
  return RestrictCalls(confinement.replaces);
}

}  // namespace spore::unpack
