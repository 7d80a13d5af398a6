#include "zygote/sfork/freeze_signal.h"

#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/rseq.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <climits>
#include <new>

#include "zygote/sfork/arch.h"

namespace spore {
namespace {

std::atomic<NoteTable*> used_table = nullptr;

template <typename T>
long Word(T* pointer) {
  return reinterpret_cast<long>(pointer);
}

// glibc registers an area at a fixed distance from the thread pointer, unless told not to (the
// tunable glibc.pthread.rseq). The kernel keeps the processor's number there, or -1, -2 before.
bool HasRseq(uintptr_t thread_pointer) {
  if (__rseq_size == 0) return false;
  const auto* area =
      reinterpret_cast<const struct rseq*>(static_cast<intptr_t>(thread_pointer) + __rseq_offset);
  return static_cast<int32_t>(area->cpu_id) >= 0;
}

void WriteNote(ThreadNote& note, ucontext_t* context) {
  note.context = context;
  note.thread_pointer = reinterpret_cast<uintptr_t>(__builtin_thread_pointer());
  note.tid_address = nullptr;
  arch::RawSyscall(SYS_prctl, PR_GET_TID_ADDRESS, Word(&note.tid_address));
  arch::RawSyscall(SYS_get_robust_list, 0, Word(&note.robust_list), Word(&note.robust_list_size));
  arch::RawSyscall(SYS_prctl, PR_GET_NAME, Word(note.name));
  note.timer_slack = static_cast<unsigned long>(arch::RawSyscall(SYS_prctl, PR_GET_TIMERSLACK));
  note.plain_registers = arch::HasPlainRegisters();
  note.has_rseq = HasRseq(note.thread_pointer);
}

// The kernel's own struct sigaction: glibc's function would be the interposed one, which refuses.
struct KernelAction {
  void (*handler)(int, siginfo_t*, void*) = nullptr;
  unsigned long flags = 0;
  uintptr_t restorer = 0;
  uint64_t mask = 0;
};

// What glibc has the other signal for.
KernelAction glibcs_action;

// Runs in a thread that must not notice: raw system calls only, nothing of libc, no errno. In the
// zygote it returns when the freeze is given up. In a child nobody waits here: the thread that is
// made again leaves the frame of the signal directly (revive.cc).
void OnFreezeSignal(int, siginfo_t*, void* context) {
  NoteTable* table = used_table.load(std::memory_order_acquire);
  if (table == nullptr) return;
  const auto tid = static_cast<pid_t>(arch::RawSyscall(SYS_gettid));
  ThreadNote* note = table->Find(tid);
  uint32_t asked = ThreadNote::kAsked;
  if (note == nullptr || !note->state.compare_exchange_strong(asked, ThreadNote::kStopping)) return;
  WriteNote(*note, static_cast<ucontext_t*>(context));
  note->state.store(ThreadNote::kStopped);
  table->stopped.fetch_add(1);
  FutexWake(table->stopped);
  while (note->state.load() == ThreadNote::kStopped)
    FutexWait(note->state, ThreadNote::kStopped, nullptr);
  note->state.store(ThreadNote::kGone);
}

// glibc sends its signal by tgkill(2), and looks whether others do; ours is queued.
void OnHelperFreezeSignal(int number, siginfo_t* info, void* context) {
  if (info->si_code == SI_QUEUE) return OnFreezeSignal(number, info, context);
  const auto is_function = reinterpret_cast<uintptr_t>(glibcs_action.handler) > 1;  // SIG_IGN
  if (is_function) glibcs_action.handler(number, info, context);
}

long Install(int number, void (*handler)(int, siginfo_t*, void*), KernelAction* old) {
  constexpr unsigned long kRestorer = 0x04000000;
  // Restarted where the kernel can. On the alternate stack where a thread has one: runtimes with
  // small stacks (Go's goroutines) need it. All else waits meanwhile.
  const uintptr_t restorer = arch::SignalRestorer();
  const unsigned long flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK;
  const KernelAction action{.handler = handler,
                            .flags = restorer != 0 ? flags | kRestorer : flags,
                            .restorer = restorer,
                            .mask = ~uint64_t{0}};
  return arch::RawSyscall(SYS_rt_sigaction, number, Word(&action), Word(old), sizeof action.mask);
}

}  // namespace

NoteTable* NoteTable::Make() {
  void* memory = mmap(nullptr, sizeof(NoteTable), PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) return nullptr;
  // The notes are made as they are added: untouched pages cost nothing.
  auto* table = static_cast<NoteTable*>(memory);
  new (&table->stopped) std::atomic<uint32_t>(0);
  new (&table->count_) std::atomic<size_t>(0);
  return table;
}

ThreadNote* NoteTable::Find(pid_t tid) {
  for (ThreadNote& note : *this)
    if (note.tid == tid) return &note;
  return nullptr;
}

ThreadNote* NoteTable::Add(pid_t tid, const SleepingCall& call) {
  const size_t next = count_.load(std::memory_order_relaxed);
  if (next == kCapacity) return nullptr;
  ThreadNote* note = new (&notes_[next]) ThreadNote();
  note->call = call;
  note->tid = tid;
  count_.store(next + 1, std::memory_order_release);
  return note;
}

void UseNoteTable(NoteTable* table) {
  used_table.store(table, std::memory_order_release);
}
NoteTable* UsedNoteTable() {
  return used_table.load(std::memory_order_acquire);
}

Result<> InstallFreezeHandler(NoteTable* table) {
  UseNoteTable(table);
  const long rc = Install(kFreezeSignal, OnFreezeSignal, nullptr);
  if (rc < 0) return SysErrorOf(static_cast<int>(-rc), "rt_sigaction of the freeze signal");
  return {};
}

long SendFreezeSignal(const ThreadNote& note) {
  const pid_t process = getpid();
  if (!note.is_timer_helper) return arch::RawSyscall(SYS_tgkill, process, note.tid, kFreezeSignal);
  static bool installed = false;
  if (!installed) {
    const long rc = Install(kHelperFreezeSignal, OnHelperFreezeSignal, &glibcs_action);
    if (rc < 0) return rc;
    installed = true;
  }
  siginfo_t info{};
  info.si_code = SI_QUEUE;
  info.si_pid = process;
  return arch::RawSyscall(SYS_rt_tgsigqueueinfo, process, note.tid, kHelperFreezeSignal,
                          Word(&info));
}

void FutexWait(const std::atomic<uint32_t>& word, uint32_t value, const timespec* timeout) {
  arch::RawSyscall(SYS_futex, Word(&word), FUTEX_WAIT_PRIVATE, value, Word(timeout));
}
void FutexWake(const std::atomic<uint32_t>& word) {
  arch::RawSyscall(SYS_futex, Word(&word), FUTEX_WAKE_PRIVATE, INT_MAX);
}

}  // namespace spore
