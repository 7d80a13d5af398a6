#include "sandbox/policy/call_groups.h"

#include <sys/prctl.h>

#include <array>

// Since Linux 5.17 and 2.3 respectively; named here for older headers.
#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#endif

namespace spore {
namespace {

using Name = std::string_view;

// ---- tenants ----

constexpr std::array kFileIo = std::to_array<Name>({
    "read",        "write",     "readv",     "writev",    "pread64",
    "pwrite64",    "preadv",    "pwritev",   "lseek",     "close",
    "close_range", "dup",       "dup2",      "dup3",      "flock",
    "pipe",        "pipe2",     "sendfile",  "splice",    "copy_file_range",
    "fsync",       "fdatasync", "fallocate", "ftruncate", "truncate",
    "fadvise64",
});
constexpr std::array kFileNames = std::to_array<Name>({
    "open",       "openat",     "openat2",   "creat",    "stat",       "fstat",     "lstat",
    "newfstatat", "statx",      "statfs",    "fstatfs",  "access",     "faccessat", "faccessat2",
    "getdents",   "getdents64", "getcwd",    "chdir",    "fchdir",     "rename",    "renameat",
    "renameat2",  "mkdir",      "mkdirat",   "rmdir",    "link",       "linkat",    "unlink",
    "unlinkat",   "symlink",    "symlinkat", "readlink", "readlinkat", "chmod",     "fchmod",
    "fchmodat",   "chown",      "fchown",    "lchown",   "fchownat",   "umask",     "utime",
    "utimes",     "futimesat",  "utimensat",
});
// shutil.copystat reads attributes; setting them fails with ENOTSUP (see AddArgumentRules).
constexpr std::array kAttributes = std::to_array<Name>({
    "getxattr",
    "lgetxattr",
    "fgetxattr",
    "listxattr",
    "llistxattr",
    "flistxattr",
});
constexpr std::array kWaitingForFiles = std::to_array<Name>({
    "poll",
    "ppoll",
    "select",
    "pselect6",
    "epoll_create",
    "epoll_create1",
    "epoll_ctl",
    "epoll_wait",
    "epoll_pwait",
    "epoll_pwait2",
    "eventfd",
    "eventfd2",
    "signalfd",
    "signalfd4",
    "timerfd_create",
    "timerfd_settime",
    "timerfd_gettime",
});
// Which families, is decided by the argument of socket(): see AddArgumentRules.
constexpr std::array kSockets = std::to_array<Name>({
    "bind",
    "listen",
    "connect",
    "accept",
    "accept4",
    "shutdown",
    "getsockname",
    "getpeername",
    "getsockopt",
    "setsockopt",
    "sendto",
    "recvfrom",
    "sendmsg",
    "recvmsg",
    "sendmmsg",
    "recvmmsg",
});
// pkey_*: V8 looks for protection keys. mincore: HotSpot sizes stacks with it; since 5.2 it tells
// of a file's pages only to who may write the file. membarrier: HotSpot, .NET.
constexpr std::array kMemory = std::to_array<Name>({
    "brk",
    "mmap",
    "munmap",
    "mprotect",
    "mremap",
    "madvise",
    "msync",
    "mlock",
    "mlock2",
    "munlock",
    "mlockall",
    "munlockall",
    "mincore",
    "memfd_create",
    "membarrier",
    "pkey_alloc",
    "pkey_free",
    "pkey_mprotect",
});
// clone: without namespace flags (argument rule). execveat: what fexecve(3) is made of.
constexpr std::array kProcesses = std::to_array<Name>({
    "fork",       "vfork",           "execve",          "execveat",        "exit",
    "exit_group", "wait4",           "waitid",          "getpid",          "getppid",
    "gettid",     "getpgid",         "getpgrp",         "getsid",          "setpgid",
    "setsid",     "set_tid_address", "set_robust_list", "get_robust_list", "rseq",
    "futex",      "futex_waitv",     "arch_prctl",      "pidfd_open",      "pidfd_send_signal",
});
constexpr std::array kSignals = std::to_array<Name>({
    "kill",
    "tkill",
    "tgkill",
    "rt_sigaction",
    "rt_sigprocmask",
    "rt_sigreturn",
    "rt_sigpending",
    "rt_sigsuspend",
    "rt_sigtimedwait",
    "rt_sigqueueinfo",
    "rt_tgsigqueueinfo",
    "sigaltstack",
    "restart_syscall",
    "pause",
});
constexpr std::array kTime = std::to_array<Name>({
    "clock_gettime",
    "clock_getres",
    "clock_nanosleep",
    "nanosleep",
    "gettimeofday",
    "time",
    "times",
    "alarm",
    "getitimer",
    "setitimer",
    "timer_create",
    "timer_settime",
    "timer_gettime",
    "timer_getoverrun",
    "timer_delete",
});
// Without CAP_SYS_NICE these only lower priority or stay within the cpuset.
constexpr std::array kScheduling = std::to_array<Name>({
    "sched_yield",
    "sched_getaffinity",
    "sched_setaffinity",
    "sched_getparam",
    "sched_setparam",
    "sched_getscheduler",
    "sched_setscheduler",
    "sched_getattr",
    "sched_setattr",
    "sched_get_priority_max",
    "sched_get_priority_min",
    "sched_rr_get_interval",
    "getpriority",
    "setpriority",
    "getcpu",
});
constexpr std::array kWhoAndWhat = std::to_array<Name>({
    "getuid",
    "geteuid",
    "getgid",
    "getegid",
    "getresuid",
    "getresgid",
    "getgroups",
    "capget",
    "uname",
    "sysinfo",
    "getrandom",
    "getrusage",
    "getrlimit",
    "setrlimit",
    "prlimit64",
});

// ---- set-up: exactly what Confine (zygote/hosts) calls. The zygote, with the libraries it has
// preloaded, may call it too, as root of its user namespace; so nothing is here for convenience.
// mount(2), for a remount only, is an argument rule. ----

constexpr std::array kJoining = std::to_array<Name>({"clone3", "setns"});
constexpr std::array kMounting = std::to_array<Name>({
    "move_mount",
});
constexpr std::array kIdentity = std::to_array<Name>({
    "setresuid",
    "setresgid",
    "setgroups",
});
constexpr std::array kGivingUp = std::to_array<Name>({"capset"});
constexpr std::array kConfining = std::to_array<Name>({
    "seccomp",
    "landlock_restrict_self",
});

// ---- CRIU, while it restores: what of it a restored process inherits is refused again by the
// programs that are loaded into it before it goes on. Filters are loaded from outside. ----

constexpr std::array kStopping = std::to_array<Name>({"ptrace"});
constexpr std::array kOwnIds = std::to_array<Name>({"setfsuid", "setfsgid", "capset"});
constexpr std::array kPipeContents = std::to_array<Name>({"vmsplice", "tee"});
constexpr std::array kLayout = std::to_array<Name>({"personality"});

// ---- nobody ----

constexpr std::array kNamespaces = std::to_array<Name>({
    "umount2",
    "mount_setattr",
    "pivot_root",
    "chroot",
    "fsopen",
    "fsmount",
    "fsconfig",
    "fspick",
    "open_tree",
    "sethostname",
    "setdomainname",
});
constexpr std::array kOtherProcesses = std::to_array<Name>({
    "ptrace",
    "process_vm_readv",
    "process_vm_writev",
    "process_madvise",
    "process_mrelease",
    "pidfd_getfd",
    "kcmp",
});
constexpr std::array kKernel = std::to_array<Name>({
    "bpf",           "perf_event_open", "userfaultfd",
    "init_module",   "finit_module",    "delete_module",
    "create_module", "query_module",    "get_kernel_syms",
    "kexec_load",    "kexec_file_load", "reboot",
    "syslog",        "lookup_dcookie",  "iopl",
    "ioperm",        "modify_ldt",      "_sysctl",
    "sysfs",         "nfsservctl",      "vm86",
    "vm86old",       "uselib",          "ustat",
    "personality",
});
constexpr std::array kHost = std::to_array<Name>({
    "swapon",
    "swapoff",
    "acct",
    "quotactl",
    "quotactl_fd",
    "clock_settime",
    "clock_adjtime",
    "settimeofday",
    "adjtimex",
    "stime",
    "vhangup",
    "sync",
    "syncfs",
    "ioprio_set",
    "ioprio_get",
});
constexpr std::array kHandles = std::to_array<Name>({
    "name_to_handle_at",
    "open_by_handle_at",
    "fanotify_init",
    "fanotify_mark",
});
constexpr std::array kOtherIdentity = std::to_array<Name>({
    "setuid",
    "setgid",
    "setreuid",
    "setregid",
    "setfsuid",
    "setfsgid",
});
constexpr std::array kRulesets = std::to_array<Name>({
    "landlock_create_ruleset",
    "landlock_add_rule",
});
// The inodes of the read-only root are the same in every sandbox and outside: a watch on them, or
// the question whether a page of them is cached (RWF_NOWAIT), tells what neighbours open and read.
// glibc makes preadv2 without flags from preadv.
constexpr std::array kWatching = std::to_array<Name>({
    "inotify_init",
    "inotify_init1",
    "inotify_add_watch",
    "inotify_rm_watch",
});
constexpr std::array kKeys = std::to_array<Name>({"add_key", "request_key", "keyctl"});
constexpr std::array kNuma = std::to_array<Name>({
    "mbind",
    "set_mempolicy",
    "set_mempolicy_home_node",
    "migrate_pages",
    "move_pages",
});

constexpr std::array kTenantCalls = std::to_array<CallGroup>({
    {"read and write files", kFileIo},
    {"name, find and change files", kFileNames},
    {"read extended attributes", kAttributes},
    {"wait for events", kWaitingForFiles},
    {"talk over sockets that socket() let them make", kSockets},
    {"memory of their own", kMemory},
    {"processes and threads of their own", kProcesses},
    {"signals inside their pid namespace", kSignals},
    {"tell and wait for time", kTime},
    {"scheduling within their limits", kScheduling},
    {"learn who and where they are; lower their limits", kWhoAndWhat},
});

constexpr std::array kSetupCalls = std::to_array<CallGroup>({
    {"fork into the cgroup and join the namespaces of a sandbox", kJoining},
    {"become the sandbox's uid", kIdentity},
    {"attach the code, size /tmp", kMounting},
    {"hold no capability", kGivingUp},
    {"Landlock and the last programs", kConfining},
});
constexpr size_t kSetupGroupsAhead = 2;

constexpr std::array kRestoreCalls = std::to_array<CallGroup>({
    {"hold what it has restored until it stops", kStopping},
    {"ask for ids, give up its capability", kOwnIds},
    {"lay memory out as it was", kLayout},
    {"fill pipes", kPipeContents},
});

constexpr std::array kForbiddenCalls = std::to_array<CallGroup>({
    {"make namespaces, roots and mounts: the supervisor's work, before this program", kNamespaces},
    {"reach into other processes", kOtherProcesses},
    {"the kernel's code, logs, tracing and legacy doors, a rich source of its bugs", kKernel},
    {"state of the whole host: clock, swap, quotas, writeback of every file system", kHost},
    {"walk around the mount tree by file handle, watch it whole", kHandles},
    {"ids, otherwise than by the three calls that set-up makes", kOtherIdentity},
    {"make Landlock rulesets: the supervisor's work", kRulesets},
    {"watch files that others share", kWatching},
    {"kernel keyrings, which are not of any namespace", kKeys},
    {"place pages on nodes: of no use under a memory limit, and often broken", kNuma},
});

// Names and lifetimes of threads and mappings, questions, and what only gives up something.
constexpr std::array kTenantPrctls = std::to_array<int>({
    PR_SET_NAME,
    PR_GET_NAME,
    PR_SET_PDEATHSIG,
    PR_GET_PDEATHSIG,
    PR_SET_DUMPABLE,
    PR_GET_DUMPABLE,
    PR_SET_CHILD_SUBREAPER,
    PR_GET_CHILD_SUBREAPER,
    PR_SET_TIMERSLACK,
    PR_GET_TIMERSLACK,
    PR_SET_THP_DISABLE,
    PR_GET_THP_DISABLE,
    PR_SET_NO_NEW_PRIVS,
    PR_GET_NO_NEW_PRIVS,
    PR_CAPBSET_READ,
    PR_GET_SECCOMP,
    PR_GET_KEEPCAPS,
    PR_GET_TID_ADDRESS,
    PR_GET_SECUREBITS,
    PR_GET_TSC,
    PR_GET_SPECULATION_CTRL,
    PR_SET_VMA,
});
constexpr std::array kSetupPrctls = std::to_array<int>({
    PR_CAPBSET_DROP,
    PR_CAP_AMBIENT,
    PR_SET_SECUREBITS,
    PR_SET_KEEPCAPS,
    PR_SET_SECCOMP,
});

constexpr std::array kRestoreProbeCalls = std::to_array<CallGroup>({
    {"look at what the kernel has", kWatching},
});
constexpr std::array kRestorePrctls = std::to_array<int>({PR_SET_MM});

}  // namespace

std::span<const CallGroup> TenantCalls() {
  return kTenantCalls;
}
std::span<const CallGroup> SetupCalls() {
  return kSetupCalls;
}
std::span<const CallGroup> LastSetupCalls() {
  return std::span(kSetupCalls).subspan(kSetupGroupsAhead);
}
std::span<const CallGroup> ForbiddenCalls() {
  return kForbiddenCalls;
}
std::span<const CallGroup> RestoreCalls() {
  return kRestoreCalls;
}
std::span<const CallGroup> RestoreProbeCalls() {
  return kRestoreProbeCalls;
}
std::span<const int> TenantPrctls() {
  return kTenantPrctls;
}
std::span<const int> SetupPrctls() {
  return kSetupPrctls;
}
std::span<const int> RestorePrctls() {
  return kRestorePrctls;
}

}  // namespace spore
