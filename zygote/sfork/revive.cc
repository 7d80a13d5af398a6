// Threads made again in a child. Everything here runs between a raw clone and the end of the
// child's set-up: raw system calls on what the freeze has noted.
#include <linux/futex.h>
#include <linux/sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/rseq.h>
#include <sys/syscall.h>

#include <algorithm>
#include <atomic>
#include <cerrno>

#include "zygote/sfork/arch.h"
#include "zygote/sfork/robust_list.h"
#include "zygote/sfork/signals_blocked.h"
#include "zygote/sfork/stopped_threads.h"
#include "zygote/sfork/timer_helper.h"

namespace spore {
namespace {

// No thread's id (the kernel's highest is 0x400000), yet not 0, which would say that it has ended:
// pthread_kill(3) to a thread that is about to be made finds nobody, instead of whoever has the id
// that it had in the zygote; pthread_join(3) waits.
constexpr int32_t kUnborn = FUTEX_TID_MASK - 1;

uint32_t revived_rseq_length = 0;
// A futex: new threads wait while it is 1.
std::atomic<uint32_t> gate = 0;
// Of the caller, while it kept itself to one of them.
struct {
  bool kept = false;
  unsigned long all[sizeof(ThreadNote::affinity) / sizeof(long)] = {};
} processors;

template <typename T>
long Word(T pointer) {
  return reinterpret_cast<long>(pointer);
}

[[noreturn]] void GiveUp() {
  // The process was promised this thread; without it, it would hang.
  constexpr char kText[] = "sfork: a thread could not be set up again\n";
  arch::RawSyscall(SYS_write, 2, Word(kText), sizeof kText - 1);
  for (;;) arch::RawSyscall(SYS_exit_group, 1);
}

void Must(long result) {
  if (result < 0) GiveUp();
}

// The first that a new thread does, on its own stack below the frame of the signal that stopped its
// model. All signals are blocked; its thread pointer is right. What the frame does not hold is set
// here; then rt_sigreturn(2) restores registers, floating-point state, mask and alternate stack.
void SetUp(const void* argument) {
  const auto& note = *static_cast<const ThreadNote*>(argument);
  using arch::RawSyscall;
  while (gate.load() == 1) FutexWait(gate, 1, nullptr);
  TakeOverRobustMutexes(note.robust_list, note.tid, *note.tid_address);
  note.held.TakeOver(*note.tid_address);
  Must(RawSyscall(SYS_set_robust_list, Word(note.robust_list),
                  static_cast<long>(note.robust_list_size)));
  if (note.has_rseq) {
    Must(RawSyscall(SYS_rseq, static_cast<long>(note.thread_pointer) + __rseq_offset,
                    revived_rseq_length, 0, RSEQ_SIG));
  }
  if (note.other_slack) {
    Must(RawSyscall(SYS_prctl, PR_SET_TIMERSLACK, static_cast<long>(note.timer_slack)));
  }
  // The processors may be others in the child's cgroup: no reason to fail.
  const bool has_own =
      note.other_affinity &&
      RawSyscall(SYS_sched_setaffinity, 0, sizeof note.affinity, Word(note.affinity)) == 0;
  if (!has_own && processors.kept)
    RawSyscall(SYS_sched_setaffinity, 0, sizeof processors.all, Word(processors.all));
  if (note.other_policy) {
    const int priority = 0;  // struct sched_param
    Must(RawSyscall(SYS_sched_setscheduler, 0, note.policy, Word(&priority)));
  }
  if (note.other_nice) Must(RawSyscall(SYS_setpriority, PRIO_PROCESS, 0, note.nice));
  arch::SporeSforkSignalReturn(note.context);
}

// The return address and the context are at the frame's low end; what is below was the handler's
// own.
void* StackBelow(const ucontext_t* context) {
  constexpr uintptr_t kDistance = 64;
  return reinterpret_cast<void*>((reinterpret_cast<uintptr_t>(context) - kDistance) &
                                 ~uintptr_t{15});
}

// Copies a page that the child still shares with the zygote. Where several processors run the
// threads of a process, each such copy interrupts the others (a TLB shootdown); with one thread it
// costs only itself.
void Own(uintptr_t address) {
  auto* byte = reinterpret_cast<volatile char*>(address);
  *byte = *byte;
}

// What a new thread writes to first: its stack where it is set up and where it goes on, its
// descriptor.
void OwnPages(const ThreadNote& note) {
  constexpr uintptr_t kPage = 4096;
  const auto below = reinterpret_cast<uintptr_t>(StackBelow(note.context));
  Own(below - 8);
  if ((below - 8) / kPage != note.call.stack_pointer / kPage) Own(note.call.stack_pointer);
  Own(note.thread_pointer);
  if (note.thread_pointer / kPage != reinterpret_cast<uintptr_t>(note.tid_address) / kPage)
    Own(reinterpret_cast<uintptr_t>(note.tid_address));
}

bool IsTimerHelper(const ThreadNote& note) {
  return note.is_timer_helper;
}

// New threads begin on the caller's processor, when that is next free; from then on they may be on
// any. Elsewhere each would have to be woken up, and as long as another processor has run a thread
// of this process, each page that the caller copies interrupts it: together several times what the
// clones take, on the way of the child's first request.
class OnThisProcessor {
 public:
  OnThisProcessor() {
    using arch::RawSyscall;
    unsigned processor = 0;
    unsigned long only[sizeof processors.all / sizeof(long)] = {};
    constexpr unsigned kBits = 8 * sizeof(long);
    if (RawSyscall(SYS_sched_getaffinity, 0, sizeof processors.all, Word(processors.all)) < 0 ||
        RawSyscall(SYS_getcpu, Word(&processor), 0, 0) < 0 || processor >= 8 * sizeof only) {
      return;
    }
    only[processor / kBits] = 1ul << processor % kBits;
    processors.kept = RawSyscall(SYS_sched_setaffinity, 0, sizeof only, Word(only)) == 0;
  }
  ~OnThisProcessor() {
    if (!processors.kept) return;
    arch::RawSyscall(SYS_sched_setaffinity, 0, sizeof processors.all, Word(processors.all));
  }
  OnThisProcessor(const OnThisProcessor&) = delete;
  OnThisProcessor& operator=(const OnThisProcessor&) = delete;
};

// A clone has its caller's name (the kernel copies comm). The caller bears the new thread's
// meanwhile, so that a thread has its own from birth, not only from when it first runs.
class OwnNameKept {
 public:
  OwnNameKept() { Must(arch::RawSyscall(SYS_prctl, PR_GET_NAME, Word(name_))); }
  ~OwnNameKept() { Must(arch::RawSyscall(SYS_prctl, PR_SET_NAME, Word(name_))); }
  OwnNameKept(const OwnNameKept&) = delete;
  OwnNameKept& operator=(const OwnNameKept&) = delete;

 private:
  char name_[16] = {};  // TASK_COMM_LEN
};

// All signals are blocked.
StepResult CloneThreads(const NoteTable& table) {
  // The same as pthread_create's, but the id is written before clone returns, not when it runs.
  constexpr uint64_t kFlags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD |
                              CLONE_SYSVSEM | CLONE_SETTLS | CLONE_PARENT_SETTID |
                              CLONE_CHILD_CLEARTID;
  for (const ThreadNote& note : table) {
    OwnPages(note);
    *note.tid_address = kUnborn;
  }
  const OnThisProcessor here;
  const OwnNameKept own_name;
  for (const ThreadNote& note : table) {
    Must(arch::RawSyscall(SYS_prctl, PR_SET_NAME, Word(note.name)));
    const long rc =
        arch::SporeSforkCloneThread(kFlags, StackBelow(note.context), note.tid_address,
                                    note.tid_address, note.thread_pointer, SetUp, &note);
    if (rc == -EAGAIN)
      return {EAGAIN, "make the runtime's threads: the limit on pids is too low for them"};
    if (rc < 0) return {static_cast<int>(-rc), "clone a thread of the runtime again"};
    if (note.is_timer_helper) *TimerHelperId() = *note.tid_address;
  }
  return StepOk();
}

}  // namespace

StepResult StoppedThreads::Revive(uint32_t rseq_length, const ProcessTimers& timers) const {
  const bool has_threads = table_ != nullptr && table_->size() != 0;
  if (!has_threads && timers.empty()) return StepOk();
  revived_rseq_length = rseq_length;
  const SignalsBlocked blocked;
  // A timer may be for one thread, which must be there before it; and no thread may look for a
  // timer that is not there yet.
  const bool waits = !timers.empty() ||
                     (has_threads && std::any_of(table_->begin(), table_->end(), IsTimerHelper));
  gate.store(waits ? 1 : 0);
  StepResult result = has_threads ? CloneThreads(*table_) : StepOk();
  if (result.ok()) result = timers.MakeAgain();
  if (result.ok() && gate.exchange(0) != 0) FutexWake(gate);
  return result;
}

}  // namespace spore
