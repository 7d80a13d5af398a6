#include "zygote/sfork/sleeping_call.h"

#include <linux/futex.h>
#include <seccomp.h>
#include <sys/syscall.h>
#include <time.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "zygote/sfork/arch.h"
#include "zygote/sfork/proc_text.h"

namespace spore {
namespace {

Resumption AgainIf(bool condition) {
  return condition ? Resumption::kAgain : Resumption::kInterrupted;
}

// futex(2). Locks with priority inheritance are refused: the kernel keeps their owner.
Resumption OfFutex(const SleepingCall& call) {
  switch (static_cast<int>(call.arguments[1]) & FUTEX_CMD_MASK) {
    case FUTEX_WAIT:  // a relative time-out: whoever gives one computes it again after EINTR
      return AgainIf(call.arguments[3] == 0);
    case FUTEX_WAIT_BITSET:  // an absolute one
      return Resumption::kAgain;
    default:
      return Resumption::kRefused;
  }
}

// nanosleep(2) and the like. Who hands in one buffer for both has the time that remains there. Who
// wants the rest elsewhere is prepared for EINTR; who wants it not at all is not.
Resumption OfSleep(uint64_t request, uint64_t remaining) {
  return AgainIf(remaining == 0 || remaining == request);
}

}  // namespace

Resumption ResumptionOf(const SleepingCall& call) {
  const auto& arguments = call.arguments;
  switch (call.number) {
    case SYS_futex:
      return OfFutex(call);
    case SYS_nanosleep:
      return OfSleep(arguments[0], arguments[1]);
    case SYS_clock_nanosleep:
      return (arguments[1] & TIMER_ABSTIME) != 0 ? Resumption::kAgain
                                                 : OfSleep(arguments[2], arguments[3]);
      // Time-outs are relative: event loops compute them again after EINTR, and none fails to
      // expect it, since these calls end with EINTR after any handler (signal(7)).
#ifdef SYS_epoll_wait
    case SYS_epoll_wait:
#endif
    case SYS_epoll_pwait:
      return AgainIf(static_cast<int>(arguments[3]) < 0);
    case SYS_epoll_pwait2:
      return AgainIf(arguments[3] == 0);
#ifdef SYS_poll
    case SYS_poll:
      return AgainIf(static_cast<int>(arguments[2]) < 0);
#endif
    case SYS_rt_sigtimedwait:
      return AgainIf(arguments[2] == 0);
    // The kernel writes the time that remains into their time-out.
    case SYS_ppoll:
    case SYS_pselect6:
#ifdef SYS_select
    case SYS_select:
#endif
    // Without time-out, or with an absolute one.
    case SYS_futex_waitv:
    case SYS_rt_sigsuspend:
#ifdef SYS_pause
    case SYS_pause:
#endif
    // Asleep, so nothing has been transferred yet.
    case SYS_read:
    case SYS_readv:
    case SYS_recvfrom:
    case SYS_recvmsg:
    case SYS_accept:
    case SYS_accept4:
      return Resumption::kAgain;
    // A sleep with time-out that a stop signal interrupted; what remains of it is not to be seen.
    case SYS_restart_syscall:
      return Resumption::kInterrupted;
    default:
      return Resumption::kRefused;
  }
}

ThreadState ReadSleepingCall(pid_t tid, SleepingCall* call) {
  // A first thread that has ended is kept by the kernel until its process ends. Without privilege
  // its file cannot be read; else it says -1.
  const auto unless_ended = [tid](ThreadState otherwise) {
    ProcText stat;
    return stat.ReadTask(tid, "stat") && stat.StateLetter() == 'Z' ? ThreadState::kEnded
                                                                   : otherwise;
  };
  ProcText text;
  if (text.ReadTask(tid, "syscall") && text.StartsWith("running")) return ThreadState::kRunning;
  // Any other that cannot be read has just gone: the next listing will not have it.
  if (text.empty()) return unless_ended(ThreadState::kRunning);
  *call = SleepingCall{};
  char* end = nullptr;
  call->number = strtol(text.data(), &end, 10);
  if (call->number < 0) return unless_ended(ThreadState::kSleeping);
  uint64_t values[8] = {};
  size_t count = 0;
  for (; count < 8 && *end == ' '; ++count) values[count] = strtoull(end, &end, 16);
  if (count != 8) return ThreadState::kRunning;
  memcpy(call->arguments, values, sizeof call->arguments);
  call->stack_pointer = values[6];
  call->instruction = values[7];
  return ThreadState::kSleeping;
}

bool PrepareResumption(const SleepingCall& call, ucontext_t& context) {
  if (arch::StackPointer(context) != call.stack_pointer) return false;
  if (arch::IsSetBack(context, call.number, call.instruction)) return true;
  // Woken with a result, or elsewhere by now: it was about to run.
  if (arch::InstructionPointer(context) != call.instruction ||
      arch::CallResult(context) != -EINTR) {
    return false;
  }
  if (ResumptionOf(call) == Resumption::kAgain)
    arch::SetBack(context, call.number, call.instruction, call.arguments[0]);
  return true;
}

std::string CallName(const SleepingCall& call) {
  if (call.number < 0) return "no system call";
  char* name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, static_cast<int>(call.number));
  std::string text = name != nullptr ? name : "call " + std::to_string(call.number);
  free(name);
  return text;
}

}  // namespace spore
