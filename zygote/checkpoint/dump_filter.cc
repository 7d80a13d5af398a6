#include "zygote/checkpoint/dump_filter.h"

#include <asm/ioctls.h>
#include <linux/netlink.h>
#include <linux/seccomp.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "sandbox/policy/call_groups.h"
#include "sandbox/policy/program_builder.h"

namespace spore {
namespace {

constexpr uint64_t kTypes = 0xf;  // SOCK_TYPE_MASK of linux/net.h; the rest are flags
// linux/ptrace.h, which cannot be included beside sys/ptrace.h; asm/ptrace-abi.h.
constexpr uint64_t kGetThreadArea = 25, kSetThreadArea = 26, kArchPrctl = 30;
constexpr uint64_t kGetDispatch = 0x4211;

// On one that it holds, or on a child of its own with which it tries what the kernel has.
constexpr std::array kTraces = std::to_array<uint64_t>({
    PTRACE_TRACEME,    PTRACE_PEEKTEXT,   PTRACE_PEEKDATA,    PTRACE_PEEKUSER,
    PTRACE_POKETEXT,   PTRACE_POKEDATA,   PTRACE_POKEUSER,    PTRACE_CONT,
    PTRACE_KILL,       PTRACE_SINGLESTEP, PTRACE_GETREGS,     PTRACE_SETREGS,
    PTRACE_GETFPREGS,  PTRACE_SETFPREGS,  PTRACE_ATTACH,      PTRACE_SYSCALL,
    PTRACE_GETREGSET,  PTRACE_SETREGSET,  PTRACE_GETSIGINFO,  PTRACE_PEEKSIGINFO,
    PTRACE_GETSIGMASK, PTRACE_SETSIGMASK, PTRACE_GETEVENTMSG, PTRACE_GET_RSEQ_CONFIGURATION,
    kGetThreadArea,    kSetThreadArea,    kArchPrctl,         kGetDispatch,
});

void AddTracing(ProgramBuilder& builder) {
  const auto request = [](uint64_t value) { return scmp_arg_cmp(SCMP_A0(SCMP_CMP_EQ, value)); };
  for (const uint64_t value : kTraces) builder.Add(SCMP_ACT_ALLOW, "ptrace", request(value));
  for (const uint64_t value :
       {uint64_t{PTRACE_SEIZE}, uint64_t{PTRACE_INTERRUPT}, uint64_t{PTRACE_DETACH}})
    builder.Add(SCMP_ACT_NOTIFY, "ptrace", request(value));
  builder.Add(SCMP_ACT_ERRNO(0), "ptrace", request(PTRACE_SETOPTIONS));
  builder.Add(SCMP_ACT_ERRNO(ENOENT), "ptrace", request(PTRACE_SECCOMP_GET_FILTER));
}

// Which sockets give their options, the kernel changes; see GiveOption in dump_notifier.cc.
void AddSocketOptions(ProgramBuilder& builder) {
  constexpr uint64_t kMostOptions = 128;
  builder.Add(SCMP_ACT_ALLOW, "getsockopt", SCMP_A1(SCMP_CMP_NE, uint64_t{SOL_SOCKET}));
  for (uint64_t option = 0; option < kMostOptions; ++option) {
    const std::array both{scmp_arg_cmp(SCMP_A1(SCMP_CMP_EQ, uint64_t{SOL_SOCKET})),
                          scmp_arg_cmp(SCMP_A2(SCMP_CMP_EQ, option))};
    const bool told = option == SO_PASSCRED || option == SO_PASSSEC;
    builder.Add(told ? SCMP_ACT_NOTIFY : SCMP_ACT_ALLOW, "getsockopt", both);
  }
}

void AddSockets(ProgramBuilder& builder) {
  const scmp_arg_cmp local = SCMP_A0(SCMP_CMP_EQ, AF_UNIX);
  for (uint64_t type = 1; type <= kTypes; ++type) {
    const std::array both{local, scmp_arg_cmp(SCMP_A1(SCMP_CMP_MASKED_EQ, kTypes, type))};
    builder.Add(type == SOCK_SEQPACKET ? SCMP_ACT_NOTIFY : SCMP_ACT_ALLOW, "socket", both);
  }
  for (const uint64_t family : {uint64_t{AF_INET}, uint64_t{AF_INET6}}) {
    for (const uint64_t type : {uint64_t{SOCK_STREAM}, uint64_t{SOCK_DGRAM}}) {
      const std::array both{scmp_arg_cmp(SCMP_A0(SCMP_CMP_EQ, family)),
                            scmp_arg_cmp(SCMP_A1(SCMP_CMP_MASKED_EQ, kTypes, type))};
      builder.Add(SCMP_ACT_ALLOW, "socket", both);
    }
  }
  for (const uint64_t protocol : {uint64_t{NETLINK_ROUTE}, uint64_t{NETLINK_SOCK_DIAG}}) {
    const std::array both{scmp_arg_cmp(SCMP_A0(SCMP_CMP_EQ, AF_NETLINK)),
                          scmp_arg_cmp(SCMP_A2(SCMP_CMP_EQ, protocol))};
    builder.Add(SCMP_ACT_ALLOW, "socket", both);
  }
  builder.Add(SCMP_ACT_ALLOW, "socketpair", SCMP_A0(SCMP_CMP_EQ, AF_UNIX));
}

}  // namespace

Result<SeccompProgram> CompileDumpProgram() {
  // As an older kernel would say; CRIU tries much that it then does without.
  ProgramBuilder builder(SCMP_ACT_ERRNO(ENOSYS), SCMP_ACT_ERRNO(ENOSYS));
  for (const CallGroup& group : TenantCalls()) {
    for (const std::string_view name : group.names) {
      if (name == "getsockopt") continue;
      builder.Add(name == "exit_group" ? SCMP_ACT_NOTIFY : SCMP_ACT_ALLOW, name);
    }
  }
  // process_vm_readv, vmsplice: memory. kcmp: what processes share. tee: what is in a pipe.
  // inotify_*: it tries whether watches can be given a number.
  for (const char* name :
       {"process_vm_readv", "vmsplice", "kcmp", "tee", "fcntl", "prctl", "inotify_init",
        "inotify_init1", "inotify_add_watch", "inotify_rm_watch"})
    builder.Add(SCMP_ACT_ALLOW, name);
  for (const uint64_t flag : {uint64_t{TIOCSTI}, uint64_t{TIOCLINUX}}) {
    builder.Add(SCMP_ACT_ERRNO(EPERM), "ioctl", SCMP_A1(SCMP_CMP_MASKED_EQ, kLow32, flag));
  }
  builder.Add(SCMP_ACT_ALLOW, "ioctl", SCMP_A1(SCMP_CMP_NE, uint64_t{TIOCSTI}));
  constexpr uint64_t kRefused = kCloneNamespaceFlags | uint64_t{CLONE_PARENT};
  builder.Add(SCMP_ACT_ALLOW, "clone", SCMP_A0(SCMP_CMP_MASKED_EQ, kRefused, 0));
  builder.Add(SCMP_ACT_ALLOW, "mknodat", SCMP_A2(SCMP_CMP_MASKED_EQ, S_IFMT, S_IFIFO));
  AddTracing(builder);
  AddSockets(builder);
  AddSocketOptions(builder);
  return builder.Export();
}

Result<UniqueFd> LoadDumpProgram(const SeccompProgram& program) {
  sock_fprog loaded{
      .len = static_cast<unsigned short>(program.instructions.size()),
      // The kernel does not write through it.
      .filter = const_cast<sock_filter*>(program.instructions.data()),
  };
  UniqueFd listener(static_cast<int>(
      syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &loaded)));
  if (!listener) return SysError("load CRIU's filter");
  return listener;
}

}  // namespace spore
