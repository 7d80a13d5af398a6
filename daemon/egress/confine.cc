#include "daemon/egress/confine.h"

#include <fcntl.h>
#include <linux/landlock.h>
#include <netinet/in.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <memory>

#include "daemon/egress/protocol.h"
#include "sandbox/steps/step.h"

namespace spore::egress {
namespace {

// A socket each way, one for a name server, and a few.
constexpr rlim_t kOpenFiles = 1024;
constexpr rlim_t kMemory = 256u << 20;
// The tenant's processes are to go first when the session's memory is short.
constexpr char kOomScore[] = "-800";

Result<> Done(const StepResult& step) {
  if (step.ok()) return {};
  return SysErrorOf(step.errno_value, step.operation);
}

Result<> Limit(__rlimit_resource resource, const char* name, rlim_t value) {
  const rlimit limit = {value, value};
  if (setrlimit(resource, &limit) != 0) return SysError("setrlimit", name);
  return {};
}

Result<> LimitResources() {
  SPORE_TRY(Limit(RLIMIT_NOFILE, "RLIMIT_NOFILE", kOpenFiles));
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)  // they reserve terabytes
  SPORE_TRY(Limit(RLIMIT_AS, "RLIMIT_AS", kMemory));
#endif
  SPORE_TRY(Limit(RLIMIT_CORE, "RLIMIT_CORE", 0));
  SPORE_TRY(Limit(RLIMIT_FSIZE, "RLIMIT_FSIZE", 0));
  return Limit(RLIMIT_MEMLOCK, "RLIMIT_MEMLOCK", 0);
}

void LowerOomScore() {
  const int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
  if (fd < 0) return;
  (void)!write(fd, kOomScore, sizeof kOomScore - 1);  // a help, not a need
  close(fd);
}

// No file, no UNIX socket in the abstract, no signal to outside; as far as the kernel has it.
Result<> RestrictFiles() {
  struct {
    uint64_t fs, net, scoped;
  } attr = {};
  const long abi =
      syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION);
  if (abi < 0) {
    if (errno == ENOSYS || errno == EOPNOTSUPP) return {};
    return SysError("ask for Landlock");
  }
  // Rights in order of appearance: 13 in ABI 1, then refer (2), truncate (3), ioctl_dev (5).
  const int rights = abi >= 5 ? 16 : abi >= 3 ? 15 : abi == 2 ? 14 : 13;
  attr.fs = (1ull << rights) - 1;
  attr.scoped = abi >= 6 ? 3 : 0;
  const size_t size = abi >= 6 ? sizeof attr : sizeof attr.fs;
  const int ruleset = static_cast<int>(syscall(SYS_landlock_create_ruleset, &attr, size, 0));
  if (ruleset < 0) return SysError("make a Landlock ruleset");
  const long done = syscall(SYS_landlock_restrict_self, ruleset, 0);
  const int saved = errno;
  close(ruleset);
  if (done != 0) return SysErrorOf(saved, "restrict with Landlock");
  return {};
}

Result<> RestrictCalls() {
  struct Release {
    void operator()(void* context) const { seccomp_release(context); }
  };
  std::unique_ptr<void, Release> filter(seccomp_init(SCMP_ACT_KILL_PROCESS));
  if (!filter) return MakeError(ErrorKind::kInternal, "seccomp_init failed");
  int rc = 0;
  const auto add = [&](uint32_t action, const char* name, auto... args) {
    const int number = seccomp_syscall_resolve_name(name);
    if (number == __NR_SCMP_ERROR || rc != 0) return;  // not on this architecture
    rc = seccomp_rule_add(filter.get(), action, number, sizeof...(args), args...);
  };
  for (const char* name :
       {"read",         "write",          "close",     "recvfrom",   "sendto",
        "accept4",      "connect",        "shutdown",  "getsockopt", "getsockname",
        "epoll_wait",   "epoll_pwait",    "epoll_ctl", "brk",        "munmap",
        "mremap",       "madvise",        "futex",     "getrandom",  "clock_gettime",
        "rt_sigreturn", "rt_sigprocmask", "exit",      "exit_group"}) {
    add(SCMP_ACT_ALLOW, name);
  }
  // TCP and UDP, and of options those that cannot reach the kernel's farther corners.
  constexpr uint64_t kType = ~uint64_t{SOCK_NONBLOCK | SOCK_CLOEXEC} & 0xffffffff;
  for (const uint64_t family : {uint64_t{AF_INET}, uint64_t{AF_INET6}}) {
    for (const uint64_t type : {uint64_t{SOCK_STREAM}, uint64_t{SOCK_DGRAM}}) {
      add(SCMP_ACT_ALLOW, "socket", SCMP_A0(SCMP_CMP_EQ, family),
          SCMP_A1(SCMP_CMP_MASKED_EQ, kType, type), SCMP_A2(SCMP_CMP_EQ, 0));
    }
  }
  add(SCMP_ACT_ALLOW, "setsockopt", SCMP_A1(SCMP_CMP_EQ, IPPROTO_TCP), SCMP_A2(SCMP_CMP_EQ, 1));
  // No memory becomes executable.
  for (const char* name : {"mmap", "mprotect"})
    add(SCMP_ACT_ALLOW, name, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
  // What libraries try and can do without, abort's own signal.
  for (const char* name : {"open", "openat", "access", "faccessat", "stat", "newfstatat", "fstat",
                           "readlink", "readlinkat", "gettid", "getpid", "tgkill"}) {
    add(SCMP_ACT_ERRNO(EACCES), name);
  }
  if (rc == 0) rc = seccomp_load(filter.get());
  if (rc != 0) return SysErrorOf(-rc, "load the seccomp filter");
  return {};
}

}  // namespace

Result<> DropPrivileges(uid_t uid) {
  if (uid == 0) return MakeError(ErrorKind::kInternal, "--uid must not be 0");
  const pid_t parent = getppid();
  if (close_range(kControlFd + 1, UINT_MAX, 0) != 0) return SysError("close_range");
  LowerOomScore();
  SPORE_TRY(LimitResources());
  SPORE_TRY(Done(LimitBoundingSet(0)));
  SPORE_TRY(Done(LockSecurebits()));
  SPORE_TRY(Done(TakeIdentity(uid, false)));
  SPORE_TRY(Done(SetCapabilities(0)));
  SPORE_TRY(Done(SetNoNewPrivs()));
  // After the change of identity, which would clear it (PR_SET_PDEATHSIG(2const)).
  if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) return SysError("prctl", "PR_SET_PDEATHSIG");
  if (getppid() != parent) return MakeError(ErrorKind::kInternal, "the parent has ended");
  if (prctl(PR_SET_DUMPABLE, 0) != 0) return SysError("prctl", "PR_SET_DUMPABLE");
  return {};
}

Result<> Confine() {
  SPORE_TRY(RestrictFiles());
  return RestrictCalls();
}

}  // namespace spore::egress
