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
  // The kernel's own struct sigaction: glibc's function would be the interposed one, which refuses.
  struct {
    void (*handler)(int, siginfo_t*, void*);
    unsigned long flags;
    uintptr_t restorer;
    uint64_t mask;
  } action{};
  constexpr unsigned long kRestorer = 0x04000000;
  action.handler = OnFreezeSignal;
  // Restarted where the kernel can. On the alternate stack where a thread has one: runtimes with
  // small stacks (Go's goroutines) need it. All else waits meanwhile.
  action.flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK;
  action.restorer = arch::SignalRestorer();
  if (action.restorer != 0) action.flags |= kRestorer;
  action.mask = ~uint64_t{0};
  const long rc =
      arch::RawSyscall(SYS_rt_sigaction, kFreezeSignal, Word(&action), 0, sizeof action.mask);
  if (rc < 0) return SysErrorOf(static_cast<int>(-rc), "rt_sigaction of the freeze signal");
  return {};
}

void FutexWait(const std::atomic<uint32_t>& word, uint32_t value, const timespec* timeout) {
  arch::RawSyscall(SYS_futex, Word(&word), FUTEX_WAIT_PRIVATE, value, Word(timeout));
}
void FutexWake(const std::atomic<uint32_t>& word) {
  arch::RawSyscall(SYS_futex, Word(&word), FUTEX_WAKE_PRIVATE, INT_MAX);
}

}  // namespace spore
