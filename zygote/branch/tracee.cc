#include "zygote/branch/tracee.h"

#include <elf.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <iterator>
#include <string_view>
#include <utility>

#include "sandbox/sys/unique_fd.h"
#include "zygote/branch/process_maps.h"
#include "zygote/branch/thread_state.h"

namespace spore {
namespace {

constexpr size_t kMostExtended = 64 << 10;  // of x86: AVX-512 and AMX included
// Of a child that was born of a call; SIGTRAP is what each step ends with, and is never blocked.
constexpr uint64_t kAllButTrap = ~(1ull << (SIGTRAP - 1));

// What a thread has done itself, which it does again when it goes on.
bool IsFault(const siginfo_t& info) {
  constexpr int kFaults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP};
  return info.si_code > 0 &&
         std::find(std::begin(kFaults), std::end(kFaults), info.si_signo) != std::end(kFaults);
}

// The kernel lets nobody say that another process has sent a signal by kill(2) or tgkill(2).
void SendAnew(pid_t tid, siginfo_t info) {
  if (info.si_code < 0 && info.si_code != SI_TKILL) {
    const std::string group = StatusLine(tid, "Tgid");
    const auto tgid = static_cast<pid_t>(strtol(group.c_str(), nullptr, 10));
    if (syscall(SYS_rt_tgsigqueueinfo, tgid, tid, info.si_signo, &info) == 0) return;
  }
  (void)syscall(SYS_tkill, tid, info.si_signo);
}

bool HasEnded() {
  return errno == ESRCH || errno == ECHILD;
}

tl::unexpected<Error> Ended() {
  return MakeError(ErrorKind::kNotFound, "it has ended");
}

// ptrace(2) takes a pointer for what is a number here.
long Trace(__ptrace_request request, pid_t tid, uintptr_t address, uintptr_t data) {
  return ptrace(request, tid, reinterpret_cast<void*>(address), reinterpret_cast<void*>(data));
}

}  // namespace

Result<Tracee> Tracee::Seize(pid_t tid, long options) {
  if (Trace(PTRACE_SEIZE, tid, 0, static_cast<uintptr_t>(options)) < 0) {
    if (HasEnded()) return Ended();
    return SysError("ptrace PTRACE_SEIZE", {}, "another tracer, or a security module, forbids it");
  }
  Tracee tracee(tid);
  if (Trace(PTRACE_INTERRUPT, tid, 0, 0) < 0) {
    if (HasEnded()) return Ended();
    return SysError("ptrace PTRACE_INTERRUPT");
  }
  return tracee;
}

Tracee::Tracee(Tracee&& other) noexcept {
  *this = std::move(other);
}

// What is held at both ends changes places.
Tracee& Tracee::operator=(Tracee&& other) noexcept {
  std::swap(tid_, other.tid_);
  std::swap(born_, other.born_);
  std::swap(signal_, other.signal_);
  std::swap(instruction_, other.instruction_);
  std::swap(takes_signal_, other.takes_signal_);
  std::swap(info_, other.info_);
  std::swap(stopped_, other.stopped_);
  std::swap(saved_, other.saved_);
  std::swap(saved_mask_, other.saved_mask_);
  return *this;
}

Tracee::~Tracee() {
  if (tid_ == 0) return;
  if (instruction_ != 0) (void)End();
  (void)LetGo();
}

Result<> Tracee::AwaitStop() {
  int status = 0;
  if (TEMP_FAILURE_RETRY(waitpid(tid_, &status, __WALL)) < 0) {
    if (!HasEnded()) return SysError("wait for a traced thread");
    tid_ = 0;
    return Ended();
  }
  if (!WIFSTOPPED(status)) {
    tid_ = 0;
    return Ended();
  }
  // A signal of its own, which it is about to take: it shall have it when it goes on.
  takes_signal_ = status >> 16 == 0;
  if (takes_signal_) NoteSignal(WSTOPSIG(status));
  stopped_ = true;
  return {};
}

void Tracee::NoteSignal(int signal) {
  signal_ = signal;
  info_ = {};
  if (ptrace(PTRACE_GETSIGINFO, tid_, nullptr, &info_) < 0) info_.si_code = SI_USER;
  info_.si_signo = signal;
}

Result<> Tracee::SetOptions(long options) {
  if (Trace(PTRACE_SETOPTIONS, tid_, 0, static_cast<uintptr_t>(options)) < 0)
    return SysError("ptrace PTRACE_SETOPTIONS");
  return {};
}

Result<ThreadRegisters> Tracee::Read() const {
  ThreadRegisters registers;
  iovec part{&registers.general, sizeof registers.general};
  if (ptrace(PTRACE_GETREGSET, tid_, NT_PRSTATUS, &part) < 0)
    return SysError("read the registers of a thread");
  registers.extended.resize(kMostExtended);
  part = {registers.extended.data(), registers.extended.size()};
  if (ptrace(PTRACE_GETREGSET, tid_, NT_X86_XSTATE, &part) < 0)
    return SysError("read the extended registers of a thread");
  registers.extended.resize(part.iov_len);
  if (Trace(PTRACE_GETSIGMASK, tid_, sizeof registers.signal_mask,
            reinterpret_cast<uintptr_t>(&registers.signal_mask)) < 0) {
    return SysError("read the signal mask of a thread");
  }
  return registers;
}

Result<> Tracee::Write(const ThreadRegisters& registers) {
  iovec part{const_cast<user_regs_struct*>(&registers.general), sizeof registers.general};
  if (ptrace(PTRACE_SETREGSET, tid_, NT_PRSTATUS, &part) < 0)
    return SysError("set the registers of a thread");
  part = {const_cast<char*>(registers.extended.data()), registers.extended.size()};
  if (ptrace(PTRACE_SETREGSET, tid_, NT_X86_XSTATE, &part) < 0)
    return SysError("set the extended registers of a thread");
  if (Trace(PTRACE_SETSIGMASK, tid_, sizeof registers.signal_mask,
            reinterpret_cast<uintptr_t>(&registers.signal_mask)) < 0) {
    return SysError("set the signal mask of a thread");
  }
  return {};
}

Result<> Tracee::Begin(uintptr_t instruction) {
  iovec part{&saved_, sizeof saved_};
  if (ptrace(PTRACE_GETREGSET, tid_, NT_PRSTATUS, &part) < 0)
    return SysError("read the registers of a thread");
  if (Trace(PTRACE_GETSIGMASK, tid_, sizeof saved_mask_,
            reinterpret_cast<uintptr_t>(&saved_mask_)) < 0) {
    return SysError("read the signal mask of a thread");
  }
  // No signal shall come between the steps.
  uint64_t mask = kAllButTrap;
  if (Trace(PTRACE_SETSIGMASK, tid_, sizeof mask, reinterpret_cast<uintptr_t>(&mask)) < 0)
    return SysError("set the signal mask of a thread");
  instruction_ = instruction;
  return {};
}

Result<> Tracee::End() {
  instruction_ = 0;
  iovec part{&saved_, sizeof saved_};
  if (ptrace(PTRACE_SETREGSET, tid_, NT_PRSTATUS, &part) < 0)
    return SysError("put the registers of a thread back");
  if (Trace(PTRACE_SETSIGMASK, tid_, sizeof saved_mask_,
            reinterpret_cast<uintptr_t>(&saved_mask_)) < 0) {
    return SysError("put the signal mask of a thread back");
  }
  // The last step's SIGTRAP is what it stands at, and would be given to it if we ended: from there
  // to a stop of no signal.
  if (Trace(PTRACE_INTERRUPT, tid_, 0, 0) < 0 || Trace(PTRACE_CONT, tid_, 0, 0) < 0) {
    if (HasEnded()) return Ended();
    return SysError("ptrace PTRACE_CONT");
  }
  return AwaitStop();
}

Result<> Tracee::Become(const ThreadRegisters& registers) {
  instruction_ = 0;
  return Write(registers);
}

Result<int64_t> Tracee::Call(long number, uint64_t a, uint64_t b, uint64_t c, uint64_t d,
                             uint64_t e, uint64_t f) {
  user_regs_struct registers = saved_;
  registers.rip = instruction_;
  registers.rax = static_cast<uint64_t>(number);
  registers.orig_rax = ~0ull;  // nothing is to be restarted
  registers.rdi = a;
  registers.rsi = b;
  registers.rdx = c;
  registers.r10 = d;
  registers.r8 = e;
  registers.r9 = f;
  iovec part{&registers, sizeof registers};
  if (ptrace(PTRACE_SETREGSET, tid_, NT_PRSTATUS, &part) < 0)
    return SysError("set the registers of a thread");
  born_ = 0;
  takes_signal_ = false;
  for (;;) {
    if (Trace(PTRACE_SINGLESTEP, tid_, 0, 0) < 0) {
      if (HasEnded()) return Ended();
      return SysError("ptrace PTRACE_SINGLESTEP");
    }
    int status = 0;
    if (TEMP_FAILURE_RETRY(waitpid(tid_, &status, __WALL)) < 0 || !WIFSTOPPED(status)) {
      tid_ = 0;
      return Ended();
    }
    if (status >> 16 != 0) {  // an event in the middle of the call: a birth, or a stop
      unsigned long message = 0;
      const int event = status >> 16;
      if (event == PTRACE_EVENT_CLONE || event == PTRACE_EVENT_FORK) {
        (void)Trace(PTRACE_GETEVENTMSG, tid_, 0, reinterpret_cast<uintptr_t>(&message));
        born_ = static_cast<pid_t>(message);
      }
      continue;
    }
    if (WSTOPSIG(status) == SIGTRAP) break;
    if (WSTOPSIG(status) == SIGSTOP) {  // no mask blocks it; it has to wait
      NoteSignal(SIGSTOP);
      continue;
    }
    return MakeError(ErrorKind::kInternal, "a signal came in the middle of a system call");
  }
  part = {&registers, sizeof registers};
  if (ptrace(PTRACE_GETREGSET, tid_, NT_PRSTATUS, &part) < 0)
    return SysError("read the registers of a thread");
  return static_cast<int64_t>(registers.rax);
}

Result<uint64_t> Tracee::Make(const char* what, long number, uint64_t a, uint64_t b, uint64_t c,
                              uint64_t d, uint64_t e, uint64_t f) {
  SPORE_ASSIGN(const int64_t value, Call(number, a, b, c, d, e, f));
  if (value < 0 && value > -4096) return SysErrorOf(static_cast<int>(-value), what);
  return static_cast<uint64_t>(value);
}

Result<> Tracee::LetGo() {
  const pid_t tid = std::exchange(tid_, 0);
  // A stop that is no signal's takes none along (ptrace(2)).
  if (stopped_ && !takes_signal_ && std::exchange(signal_, 0) != 0 && !IsFault(info_))
    SendAnew(tid, info_);
  if (Trace(PTRACE_DETACH, tid, 0, static_cast<uintptr_t>(signal_)) == 0) return {};
  if (stopped_ || !HasEnded()) return SysError("ptrace PTRACE_DETACH");
  // It has not stopped yet, which is when it can be let go.
  int status = 0;
  if (TEMP_FAILURE_RETRY(waitpid(tid, &status, __WALL)) < 0 || !WIFSTOPPED(status)) return {};
  if (status >> 16 == 0) signal_ = WSTOPSIG(status);
  if (Trace(PTRACE_DETACH, tid, 0, static_cast<uintptr_t>(signal_)) < 0)
    return SysError("ptrace PTRACE_DETACH");
  return {};
}

Result<uintptr_t> FindSyscallInstruction(pid_t pid) {
  SPORE_ASSIGN(const std::vector<Mapping> maps, ReadMappings(pid));
  return FindSyscallInstruction(pid, maps);
}

Result<uintptr_t> FindSyscallInstruction(pid_t pid, const std::vector<Mapping>& maps) {
  for (const Mapping& mapping : maps) {
    if (mapping.name != "[vdso]") continue;
    const UniqueFd memory(
        open(("/proc/" + std::to_string(pid) + "/mem").c_str(), O_RDONLY | O_CLOEXEC));
    std::string bytes(mapping.end - mapping.begin, '\0');
    if (!memory || pread(memory.get(), bytes.data(), bytes.size(),
                         static_cast<off_t>(mapping.begin)) != static_cast<ssize_t>(bytes.size())) {
      return SysError("read the vdso of a process");
    }
    // One that is part of a longer instruction serves as well.
    const size_t at = bytes.find(std::string_view("\x0f\x05", 2));
    if (at != bytes.npos) return mapping.begin + at;
  }
  return MakeError(ErrorKind::kPrecondition, "its vdso was unmapped");
}

}  // namespace spore
