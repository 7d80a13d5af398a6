// The seccomp programs: what passes, what is refused and how. Each case runs in a forked child that
// makes raw system calls and nothing else.
#include "sandbox/policy/seccomp_program.h"

#include <asm/ioctls.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <set>
#include <string>

#include "sandbox/policy/call_groups.h"

namespace spore {
namespace {

// What Docker's default profile allows on x86_64 without any capability, arguments permitting: its
// unconditional list plus ptrace and process_vm_* (kernels since 4.8), socket, personality,
// arch_prctl, modify_ldt and clone. Source: github.com/moby/profiles, seccomp/default.json, commit
// 190fa92cb2750186268c960ce30718d3495a228d; names that x86_64 has, counted.
constexpr size_t kDockerDefaultCalls = 311;

SeccompProgram MustCompile(Result<SeccompProgram> program) {
  if (!program) {
    ADD_FAILURE() << program.error().Message();
    return {};
  }
  return std::move(*program);
}

const SeccompProgram& Base() {
  static const SeccompProgram program = MustCompile(CompileBaseProgram());
  return program;
}
const SeccompProgram& Final() {
  static const SeccompProgram program = MustCompile(CompileFinalProgram(NetworkPolicy()));
  return program;
}
const SeccompProgram& LoopbackFinal() {
  static const SeccompProgram program =
      MustCompile(CompileFinalProgram(NetworkPolicy(LoopbackSockets())));
  return program;
}
const SeccompProgram& Last() {
  static const SeccompProgram program = MustCompile(CompileLastProgram());
  return program;
}
const SeccompProgram& Init() {
  static const SeccompProgram program = MustCompile(CompileInitProgram());
  return program;
}

// Exit code, or 1000 + the signal that ended it.
int WaitFor(pid_t child) {
  int status = 0;
  if (waitpid(child, &status, 0) != child) return -1;
  return WIFSIGNALED(status) ? 1000 + WTERMSIG(status) : WEXITSTATUS(status);
}

constexpr int kCouldNotLoad = 251;

// Runs `body` in a child under the programs; gives what it returns (0 to 250).
template <typename Body>
int RunUnder(std::initializer_list<const SeccompProgram*> programs, Body body) {
  for (const SeccompProgram* program : programs) EXPECT_FALSE(program->instructions.empty());
  const pid_t child = fork();
  if (child == 0) {
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    for (const SeccompProgram* program : programs)
      if (LoadSeccompProgram(*program) != 0) syscall(SYS_exit_group, kCouldNotLoad);
    syscall(SYS_exit_group, body());
  }
  return WaitFor(child);
}

struct RawCall {
  long number;
  long args[6] = {};
};

// errno of the call, 0 when it succeeded.
int ErrnoOf(const RawCall& call) {
  const long* a = call.args;
  return syscall(call.number, a[0], a[1], a[2], a[3], a[4], a[5]) < 0 ? errno : 0;
}

int TenantErrno(const RawCall& call) {
  return RunUnder({&Base(), &Final(), &Last()}, [&] { return ErrnoOf(call); });
}

TEST(SeccompProgram, FitsTheKernelsLimit) {
  for (const SeccompProgram* program : {&Base(), &Final(), &LoopbackFinal(), &Last(), &Init()}) {
    EXPECT_GT(program->instructions.size(), 10u);
    EXPECT_LE(program->instructions.size(), size_t{BPF_MAXINSNS});
  }
  EXPECT_LT(Final().instructions.size(), Base().instructions.size() / 2);
}

TEST(SeccompProgram, AllowListIsSmallerThanDockers) {
  const std::vector<std::string> names = AllowedCallNames();
  EXPECT_TRUE(std::is_sorted(names.begin(), names.end()));
  EXPECT_LT(names.size(), kDockerDefaultCalls);
  RecordProperty("allowed_calls", static_cast<int>(names.size()));
}

TEST(SeccompProgram, TablesDoNotOverlap) {
  std::map<std::string_view, std::string_view> reason_of;
  for (auto table : {TenantCalls(), SetupCalls(), ForbiddenCalls()}) {
    for (const CallGroup& group : table) {
      EXPECT_FALSE(group.reason.empty());
      for (std::string_view name : group.names) {
        auto [at, fresh] = reason_of.emplace(name, group.reason);
        EXPECT_TRUE(fresh) << name << " is in '" << at->second << "' and '" << group.reason << "'";
      }
    }
  }
  const std::vector<std::string> allowed = AllowedCallNames();
  for (auto table : {SetupCalls(), ForbiddenCalls()})
    for (const CallGroup& group : table)
      for (std::string_view name : group.names)
        EXPECT_EQ(std::count(allowed.begin(), allowed.end(), name), 0) << name;
}

const std::map<std::string, RawCall> kRefused = {
    {"ptrace", {SYS_ptrace, {PTRACE_TRACEME}}},
    {"process_vm_readv", {SYS_process_vm_readv, {1}}},
    {"process_vm_writev", {SYS_process_vm_writev, {1}}},
    {"pidfd_getfd", {SYS_pidfd_getfd}},
    {"kcmp", {SYS_kcmp}},
    {"bpf", {SYS_bpf}},
    {"add_key", {SYS_add_key}},
    {"request_key", {SYS_request_key}},
    {"keyctl", {SYS_keyctl}},
    {"userfaultfd", {SYS_userfaultfd}},
    {"perf_event_open", {SYS_perf_event_open}},
    {"init_module", {SYS_init_module}},
    {"finit_module", {SYS_finit_module}},
    {"delete_module", {SYS_delete_module}},
    {"kexec_load", {SYS_kexec_load}},
    {"kexec_file_load", {SYS_kexec_file_load}},
    {"reboot", {SYS_reboot}},
    {"swapon", {SYS_swapon}},
    {"swapoff", {SYS_swapoff}},
    {"mount", {SYS_mount}},
    {"umount2", {SYS_umount2}},
    {"fsopen", {SYS_fsopen}},
    {"fsmount", {SYS_fsmount}},
    {"fsconfig", {SYS_fsconfig}},
    {"fspick", {SYS_fspick}},
    {"open_tree", {SYS_open_tree}},
    {"move_mount", {SYS_move_mount}},
    {"mount_setattr", {442}},
    {"pivot_root", {SYS_pivot_root}},
    {"chroot", {SYS_chroot}},
    {"setns", {SYS_setns}},
    {"unshare", {SYS_unshare, {CLONE_NEWUSER}}},
    {"unshare files", {SYS_unshare, {CLONE_FILES}}},
    {"unshare what a spare child may", {SYS_unshare, {CLONE_NEWNET | CLONE_NEWCGROUP}}},
    {"open_by_handle_at", {SYS_open_by_handle_at}},
    {"name_to_handle_at", {SYS_name_to_handle_at}},
    {"fanotify_init", {SYS_fanotify_init}},
    {"quotactl", {SYS_quotactl}},
    {"acct", {SYS_acct}},
    {"syslog", {SYS_syslog}},
    {"clock_settime", {SYS_clock_settime}},
    {"settimeofday", {SYS_settimeofday}},
    {"adjtimex", {SYS_adjtimex}},
    {"lookup_dcookie", {SYS_lookup_dcookie}},
    {"personality", {SYS_personality, {ADDR_NO_RANDOMIZE}}},
    {"modify_ldt", {SYS_modify_ldt}},
    {"iopl", {SYS_iopl}},
    {"ioperm", {SYS_ioperm}},
    {"mbind", {SYS_mbind}},
    {"sethostname", {SYS_sethostname}},
    {"seccomp", {SYS_seccomp}},
    {"prctl SET_SECCOMP", {SYS_prctl, {PR_SET_SECCOMP}}},
    {"prctl CAPBSET_DROP", {SYS_prctl, {PR_CAPBSET_DROP}}},
    {"prctl CAP_AMBIENT", {SYS_prctl, {PR_CAP_AMBIENT}}},
    {"landlock_create_ruleset", {444}},
    {"landlock_restrict_self", {446}},
    {"setuid", {SYS_setuid, {0}}},
    {"setresuid", {SYS_setresuid, {-1, -1, -1}}},
    {"setresgid", {SYS_setresgid, {-1, -1, -1}}},
    {"setgroups", {SYS_setgroups}},
    {"setfsuid", {SYS_setfsuid}},
    {"capset", {SYS_capset}},
    {"ioctl TIOCSTI", {SYS_ioctl, {0, TIOCSTI}}},
    {"ioctl TIOCSTI, high bits set", {SYS_ioctl, {0, TIOCSTI | (1l << 32)}}},
    {"ioctl TIOCLINUX", {SYS_ioctl, {0, TIOCLINUX}}},
    {"sync", {SYS_sync}},
    {"remount", {SYS_mount, {0, 0, 0, MS_REMOUNT}}},
    {"inotify_init1", {SYS_inotify_init1}},
    {"dnotify", {SYS_fcntl, {0, F_NOTIFY}}},
    {"dnotify, high bits set", {SYS_fcntl, {0, F_NOTIFY | (1l << 32)}}},
};

TEST(SeccompProgram, RefusesWhatTenantsMustNotCall) {
  for (const auto& [name, call] : kRefused) EXPECT_EQ(TenantErrno(call), EPERM) << name;
}

TEST(SeccompProgram, LooksLikeAnOlderKernelToProbes) {
  const std::map<std::string, RawCall> absent = {
      {"clone3", {SYS_clone3}},
      {"io_uring_setup", {SYS_io_uring_setup, {1}}},
      {"io_uring_enter", {SYS_io_uring_enter, {-1}}},
      {"io_uring_register", {SYS_io_uring_register, {-1}}},
      {"io_setup", {SYS_io_setup}},
      {"preadv2, which asks what is cached", {SYS_preadv2, {0}}},
      {"shmget", {SYS_shmget}},
      {"mq_open", {SYS_mq_open}},
      {"memfd_secret", {447}},
      {"statmount", {457}},
      {"open_tree_attr", {467}},
      {"a call of the future", {900}},
      {"prctl SET_MM", {SYS_prctl, {PR_SET_MM, PR_SET_MM_BRK}}},
      {"mknod of a device", {SYS_mknod, {0, S_IFCHR | 0600, 0x103}}},
      {"mknodat of a whiteout", {SYS_mknodat, {AT_FDCWD, 0, S_IFCHR, 0}}},
  };
  for (const auto& [name, call] : absent) EXPECT_EQ(TenantErrno(call), ENOSYS) << name;
}

TEST(SeccompProgram, OnlyUnixSockets) {
  for (long family : {AF_INET, AF_INET6, AF_NETLINK, AF_PACKET, AF_VSOCK, AF_ALG, AF_BLUETOOTH}) {
    EXPECT_EQ(TenantErrno({SYS_socket, {family, SOCK_RAW}}), EAFNOSUPPORT) << family;
    EXPECT_EQ(TenantErrno({SYS_socketpair, {family, SOCK_STREAM}}), EAFNOSUPPORT) << family;
  }
  EXPECT_EQ(TenantErrno({SYS_socket, {AF_INET | (1l << 32), SOCK_STREAM}}), EAFNOSUPPORT);
  EXPECT_EQ(TenantErrno({SYS_socket, {AF_UNIX | (1l << 32), SOCK_STREAM}}), EAFNOSUPPORT);
  EXPECT_EQ(TenantErrno({SYS_socket, {AF_UNIX, SOCK_STREAM}}), 0);
}

// How many sockets of `family` can be made, of whatever type and protocol.
int SocketsOf(long family) {
  int made = 0;
  for (long type = 0; type < 16; ++type) {
    for (long protocol = -1; protocol < 300; ++protocol) {
      const int fd = static_cast<int>(syscall(SYS_socket, family, type | SOCK_CLOEXEC, protocol));
      if (fd < 0) continue;
      ++made;
      close(fd);
    }
  }
  return made;
}

TEST(SeccompProgram, LoopbackIsTcpAndUdp) {
  const auto under = [](auto body) { return RunUnder({&Base(), &LoopbackFinal(), &Last()}, body); };
  for (long family = 0; family < 64; ++family) {
    if (family == AF_UNIX) continue;
    // Each with the protocol's number and with none.
    const int expected = family == AF_INET || family == AF_INET6 ? 4 : 0;
    EXPECT_EQ(under([&] { return SocketsOf(family); }), expected) << family;
    EXPECT_EQ(under([&] { return SocketsOf(family | (1l << 32)); }), 0) << family;
    EXPECT_EQ(under([&] {
                return ErrnoOf({SYS_socketpair, {family, SOCK_STREAM}});
              }),
              EAFNOSUPPORT)
        << family;
  }
  for (long family : {AF_INET, AF_INET6}) {
    EXPECT_EQ(under([&] { return ErrnoOf({SYS_socket, {family, SOCK_RAW}}); }), EPERM);
    // MPTCP, which Go asks for first.
    EXPECT_EQ(under([&] {
                return ErrnoOf({SYS_socket, {family, SOCK_STREAM, 262}});
              }),
              EPROTONOSUPPORT);
  }
  const long tcp = IPPROTO_TCP, ulp = TCP_ULP;
  EXPECT_EQ(under([&] { return ErrnoOf({SYS_setsockopt, {-1, tcp, ulp}}); }), ENOPROTOOPT);
  EXPECT_EQ(under([&] {
              return ErrnoOf({SYS_setsockopt, {-1, tcp | 1l << 40, ulp}});
            }),
            ENOPROTOOPT);
  EXPECT_EQ(under([&] { return ErrnoOf({SYS_setsockopt, {-1, tcp, TCP_NODELAY}}); }), EBADF);
}

TEST(SeccompProgram, CloneCarriesNoNamespaceFlagAndMakesNoSiblings) {
  for (long flag : {CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUTS, CLONE_NEWIPC, CLONE_NEWUSER,
                    CLONE_NEWPID, CLONE_NEWNET, CLONE_PARENT}) {
    EXPECT_EQ(TenantErrno({SYS_clone, {flag | SIGCHLD}}), EPERM) << flag;
    EXPECT_EQ(TenantErrno({SYS_clone, {flag | CLONE_VM | CLONE_FS | SIGCHLD}}), EPERM) << flag;
  }
  EXPECT_EQ(RunUnder({&Base(), &Final(), &Last()},
                     [] {
                       const long child = syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
                       if (child == 0) syscall(SYS_exit_group, 7);
                       int status = 0;
                       if (child < 0 || syscall(SYS_wait4, child, &status, 0, 0) != child) return 1;
                       return WEXITSTATUS(status);
                     }),
            7);
}

TEST(SeccompProgram, FifosCanBeMade) {
  const std::string path = testing::TempDir() + "seccomp_fifo";
  unlink(path.c_str());
  EXPECT_EQ(TenantErrno({SYS_mknod, {reinterpret_cast<long>(path.c_str()), S_IFIFO | 0600}}), 0);
  EXPECT_EQ(unlink(path.c_str()), 0);
}

// They are not charged to a memory cgroup.
TEST(SeccompProgram, HugePagesAreRefused) {
  const long flags = MAP_PRIVATE | MAP_ANONYMOUS;
  EXPECT_EQ(TenantErrno({SYS_mmap, {0, 1 << 21, PROT_READ, flags | MAP_HUGETLB, -1, 0}}), ENOMEM);
  EXPECT_EQ(TenantErrno({SYS_mmap, {0, 1 << 21, PROT_READ, flags, -1, 0}}), 0);
  const long name = reinterpret_cast<long>("n");
  EXPECT_EQ(TenantErrno({SYS_memfd_create, {name, MFD_HUGETLB}}), EINVAL);
  EXPECT_EQ(TenantErrno({SYS_memfd_create, {name, MFD_CLOEXEC}}), 0);
}

TEST(SeccompProgram, AttributesAreNotSupported) {
  EXPECT_EQ(TenantErrno({SYS_fsetxattr, {0}}), EOPNOTSUPP);
}

#ifdef __x86_64__
TEST(SeccompProgram, ForeignAbisEndTheProcess) {
  constexpr long kX32Bit = 0x40000000;
  for (auto* program : {&Base(), &Final(), &Last(), &Init()}) {
    EXPECT_EQ(TenantErrno({SYS_getpid}), 0);
    EXPECT_EQ(RunUnder({program},
                       [] {
                         return ErrnoOf({SYS_read | kX32Bit, {-1}});
                       }),
              1000 + SIGSYS);
    EXPECT_EQ(RunUnder({program}, [] { return ErrnoOf({SYS_ptrace | kX32Bit}); }), 1000 + SIGSYS);
    const int end = RunUnder({program}, [] {
      long result = 20;  // getpid of i386; writev of x86_64
      asm volatile("int $0x80" : "+a"(result)::"memory");
      return 0;
    });
    // SIGSEGV where the kernel was built or booted without IA-32 emulation.
    EXPECT_TRUE(end == 1000 + SIGSYS || end == 1000 + SIGSEGV) << end;
  }
}
#endif

TEST(SeccompProgram, SetupPassesTheBaseOnly) {
  const RawCall same_uid{SYS_setresuid, {-1, -1, -1}};
  EXPECT_EQ(RunUnder({&Base()}, [&] { return ErrnoOf(same_uid); }), 0);
  EXPECT_EQ(TenantErrno(same_uid), EPERM);
  // Reaches the kernel, which finds the arguments wrong.
  EXPECT_EQ(RunUnder({&Base()}, [] { return ErrnoOf({SYS_clone3}); }), EINVAL);
  EXPECT_EQ(RunUnder({&Base()}, [] { return ErrnoOf({SYS_setns, {-1}}); }), EBADF);
  EXPECT_EQ(RunUnder({&Base()}, [] { return ErrnoOf({SYS_unshare, {CLONE_NEWUSER}}); }), EPERM);
  EXPECT_EQ(RunUnder({&Base()},
                     [] {
                       return ErrnoOf({SYS_mount, {1, 1, 1, MS_REMOUNT}});
                     }),
            EFAULT);
  EXPECT_EQ(RunUnder({&Base()}, [] { return ErrnoOf({SYS_mount, {1, 1, 1, MS_BIND}}); }), ENOSYS);
  EXPECT_EQ(RunUnder({&Base()}, [] { return ErrnoOf({SYS_umount2, {1}}); }), EPERM);
}

TEST(SeccompProgram, InitOnlyWaits) {
  EXPECT_EQ(RunUnder({&Init()}, [] { return ErrnoOf({SYS_wait4, {-1, 0, 0, 0}}); }), ECHILD);
  EXPECT_EQ(RunUnder({&Init()}, [] { return ErrnoOf({SYS_read, {-1, 0, 0}}); }), EBADF);
  for (long number : {SYS_openat, SYS_kill, SYS_execve, SYS_clone, SYS_mmap, SYS_socket})
    EXPECT_EQ(RunUnder({&Init()}, [&] { return ErrnoOf({number}); }), 1000 + SIGSYS) << number;
}

// Reports its errno, keeps the caller's.
TEST(SeccompProgram, LoadingReportsErrors) {
  SeccompProgram nonsense;
  nonsense.instructions.resize(1, sock_filter{.code = 0xffff, .jt = 0, .jf = 0, .k = 0});
  EXPECT_EQ(RunUnder({},
                     [&] {
                       errno = 77;
                       const int rc = LoadSeccompProgram(nonsense);
                       return errno == 77 && rc == -EINVAL ? 0 : 1;
                     }),
            0);
}

// The unmodified interpreter with what functions commonly do.
TEST(SeccompProgram, PythonRuns) {
  static constexpr char kScript[] = R"(
import asyncio, concurrent.futures, mmap, multiprocessing, os, random, shutil, signal, socket
import sqlite3, subprocess, sys, tempfile, threading, time, uuid, ssl, hashlib, select
def square(x): return x * x
if __name__ == '__main__':
    multiprocessing.set_start_method('fork')
    seen = []
    threads = [threading.Thread(target=seen.append, args=(i,)) for i in range(4)]
    [t.start() for t in threads]; [t.join() for t in threads]
    assert sorted(seen) == [0, 1, 2, 3]
    assert subprocess.run(['/bin/echo', 'hi'], capture_output=True, check=True).stdout == b'hi\n'
    with concurrent.futures.ThreadPoolExecutor(2) as pool: assert list(pool.map(square, [2])) == [4]
    with multiprocessing.Pool(2) as pool: assert pool.map(square, [3, 4]) == [9, 16]
    async def go():
        process = await asyncio.create_subprocess_exec('/bin/true')
        await asyncio.gather(asyncio.sleep(0.001), asyncio.to_thread(time.sleep, 0.001))
        return await process.wait()
    assert asyncio.run(go()) == 0
    with tempfile.TemporaryDirectory() as d:
        db = sqlite3.connect(d + '/x.db'); db.execute('pragma journal_mode=wal')
        db.execute('create table t(x)'); db.execute('insert into t values (1)'); db.commit()
        db.close()
        shutil.copy2(d + '/x.db', d + '/y.db'); os.mkfifo(d + '/fifo')
        shutil.copytree(d, d + '/z', ignore=lambda *_: ['z', 'fifo'])
        with open(d + '/y.db', 'r+b') as f: mmap.mmap(f.fileno(), 0).flush()
    a, b = socket.socketpair(); a.send(b'x'); assert b.recv(1) == b'x'
    uuid.uuid4(); random.random(); os.urandom(8); ssl.create_default_context()
    select.epoll().close(); os.sched_setaffinity(0, os.sched_getaffinity(0))
    signal.setitimer(signal.ITIMER_REAL, 0)
    try: socket.socket(socket.AF_INET)
    except OSError: pass
    else: sys.exit(3)
    sys.exit(42)
)";
  EXPECT_EQ(RunUnder({&Base(), &Final(), &Last()},
                     [] {
                       const char* argv[] = {"/usr/bin/python3", "-c", kScript, nullptr};
                       const char* envp[] = {"PATH=/usr/bin:/bin", nullptr};
                       syscall(SYS_execve, argv[0], argv, envp);
                       return 1;
                     }),
            42);
}

}  // namespace
}  // namespace spore
