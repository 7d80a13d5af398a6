#include "zygote/branch/thread_state.h"

#include <fmt/format.h>
#include <linux/rseq.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <fstream>

#include "zygote/branch/process_maps.h"
#include "zygote/sfork/signals_blocked.h"

namespace spore {
namespace {

constexpr size_t kRedZone = 512;  // and more, below what the thread's stack holds
constexpr size_t kAnswerBytes = 64;
constexpr uint64_t kMaskBytes = 8;  // sizeof(sigset_t) of the kernel
// linux/prctl.h, and the kernel's errors for calls that are to begin again (linux/errno.h).
constexpr uint64_t kGetTidAddress = 40;
constexpr int64_t kRestartSys = -512, kRestartNoIntr = -513, kRestartNoHand = -514,
                  kRestartBlock = -516;

std::string FirstLine(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

Result<> NoteRseq(pid_t tid, ThreadState& state) {
  __ptrace_rseq_configuration known{};
  if (ptrace(PTRACE_GET_RSEQ_CONFIGURATION, tid, sizeof known, &known) < 0)
    return SysError("read a thread's restartable sequences");
  state.rseq = known.rseq_abi_pointer;
  state.rseq_bytes = known.rseq_abi_size;
  state.rseq_signature = known.signature;
  state.rseq_flags = known.flags;
  return {};
}

}  // namespace

Status::Status(pid_t pid)
    : text_(ReadKernelFile(fmt::format("/proc/{}/status", pid)).value_or(std::string())) {}

std::string Status::Line(std::string_view name) const {
  for (std::string_view rest = text_; !rest.empty();) {
    std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(line.size() + 1, rest.size()));
    if (!line.starts_with(name) || line.size() <= name.size() || line[name.size()] != ':') continue;
    line.remove_prefix(name.size() + 1);
    const size_t at = line.find_first_not_of(" \t");
    return at == line.npos ? std::string() : std::string(line.substr(at));
  }
  return {};
}

uint64_t Status::Mask(std::string_view name) const {
  const std::string line = Line(name);
  uint64_t mask = 0;
  std::from_chars(line.data(), line.data() + line.size(), mask, 16);
  return mask;
}

std::string StatusLine(pid_t pid, std::string_view name) {
  return Status(pid).Line(name);
}

pid_t NumberInside(pid_t pid) {
  const std::string line = StatusLine(pid, "NSpid");
  const size_t at = line.find_last_of(" \t");
  const char* begin = line.data() + (at == line.npos ? 0 : at + 1);
  pid_t number = 0;
  std::from_chars(begin, line.data() + line.size(), number);
  return number;
}

// Lends a piece of the thread's stack, which is put back.
template <typename Asked>
Result<> SourceThread::Ask(Asked asked) {
  const SignalsBlocked held_off;  // spored wants the worker to end (SIGTERM): not now
  SPORE_TRY(thread_.SetOptions(PTRACE_O_SUSPEND_SECCOMP | PTRACE_O_EXITKILL));
  SPORE_ASSIGN(const ThreadRegisters registers, thread_.Read());
  const uintptr_t place = (registers.general.rsp - kRedZone) & ~uintptr_t{15};
  std::array<char, kAnswerBytes> held{};
  SPORE_TRY(memory_.Read(place, held.data(), held.size()));
  SPORE_TRY(thread_.Begin(instruction_));
  const Result<> done = asked(place);
  SPORE_TRY(memory_.Write(place, held.data(), held.size()));
  SPORE_TRY(thread_.End());
  SPORE_TRY(thread_.SetOptions(0));
  return done;
}

Result<ThreadState> SourceThread::Note() {
  const pid_t tid = thread_.tid();
  ThreadState state;
  state.number = NumberInside(tid);
  state.name = FirstLine(fmt::format("/proc/{}/comm", tid));
  SPORE_ASSIGN(state.registers, thread_.Read());
  void* head = nullptr;
  if (syscall(SYS_get_robust_list, tid, &head, &state.robust_bytes) < 0)
    return SysError("get_robust_list");
  state.robust_list = reinterpret_cast<uintptr_t>(head);
  SPORE_TRY(NoteRseq(tid, state));
  const Result<> asked = Ask([&](uintptr_t place) -> Result<> {
    SPORE_TRY(thread_.Make("prctl PR_GET_TID_ADDRESS", SYS_prctl, kGetTidAddress, place));
    SPORE_TRY(memory_.Read(place, &state.tid_address, sizeof state.tid_address));
    SPORE_TRY(thread_.Make("sigaltstack", SYS_sigaltstack, 0, place));
    return memory_.Read(place, &state.signal_stack, sizeof state.signal_stack);
  });
  SPORE_TRY(asked);
  return state;
}

Result<std::vector<NumberedAction>> SourceThread::NoteActions(uint64_t mask) {
  std::vector<NumberedAction> actions;
  if (mask == 0) return actions;
  const Result<> asked = Ask([&](uintptr_t place) -> Result<> {
    for (int signal = 1; signal <= 64; ++signal) {
      if ((mask >> (signal - 1) & 1) == 0) continue;
      SPORE_TRY(thread_.Make("rt_sigaction", SYS_rt_sigaction, static_cast<uint64_t>(signal), 0,
                             place, kMaskBytes));
      NumberedAction one{signal, {}};
      SPORE_TRY(memory_.Read(place, &one.action, sizeof one.action));
      actions.push_back(one);
    }
    return {};
  });
  SPORE_TRY(asked);
  return actions;
}

Result<> SetActions(const std::vector<NumberedAction>& actions, const Workbench& bench) {
  for (const NumberedAction& one : actions) {
    SPORE_ASSIGN(const uintptr_t place, bench.PlaceStruct(one.action));
    SPORE_TRY(bench.thread.Make("rt_sigaction", SYS_rt_sigaction, static_cast<uint64_t>(one.signal),
                                place, 0, kMaskBytes));
  }
  return {};
}

Result<> SetUpThread(const ThreadState& state, Tracee& thread, const Workbench& bench,
                     bool registered) {
  SPORE_TRY(thread.Make("set_tid_address", SYS_set_tid_address, state.tid_address));
  if (!registered && state.robust_list != 0) {
    SPORE_TRY(
        thread.Make("set_robust_list", SYS_set_robust_list, state.robust_list, state.robust_bytes));
  }
  if (!registered && state.rseq != 0) {
    SPORE_TRY(thread.Make("rseq", SYS_rseq, state.rseq, state.rseq_bytes, state.rseq_flags,
                          state.rseq_signature));
  }
  stack_t stack = state.signal_stack;
  stack.ss_flags &= ~SS_ONSTACK;  // told, not set
  SPORE_ASSIGN(uintptr_t place, bench.PlaceStruct(stack));
  SPORE_TRY(thread.Make("sigaltstack", SYS_sigaltstack, place, 0));
  SPORE_ASSIGN(place, bench.PlaceText(state.name));
  SPORE_TRY(thread.Make("prctl PR_SET_NAME", SYS_prctl, PR_SET_NAME, place));
  return {};
}

// As the kernel does when no signal is taken (arch_do_signal_or_restart). What a call that counts
// down had left is known to the source's kernel thread alone: it is interrupted, as by a signal.
ThreadRegisters RegistersForCopy(const ThreadRegisters& registers) {
  ThreadRegisters copy = registers;
  user_regs_struct& general = copy.general;
  if (static_cast<int64_t>(general.orig_rax) < 0) return copy;
  switch (static_cast<int64_t>(general.rax)) {
    case kRestartSys:
    case kRestartNoIntr:
    case kRestartNoHand:
      general.rax = general.orig_rax;
      general.rip -= 2;
      break;
    case kRestartBlock:
      general.rax = static_cast<uint64_t>(-EINTR);
      break;
    default:
      break;
  }
  general.orig_rax = ~0ull;
  return copy;
}

}  // namespace spore
