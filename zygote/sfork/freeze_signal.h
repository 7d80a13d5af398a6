// The signal that stops a thread, and the note that the thread then writes about itself.
#pragma once

#include <sched.h>
#include <signal.h>
#include <sys/types.h>
#include <ucontext.h>

#include <atomic>
#include <cstdint>

#include "sandbox/sys/result.h"
#include "zygote/sfork/held_mutexes.h"
#include "zygote/sfork/sleeping_call.h"

namespace spore {

// SIGRTMAX-4 of glibc. interpose.cc keeps it out of every mask and out of the program's hands.
inline constexpr int kFreezeSignal = 60;
// glibc's own, by which setuid(3) reaches every thread: the only one that glibc's thread for timers
// does not block. It is stopped by this one, which goes on to serve setuid.
inline constexpr int kHelperFreezeSignal = 33;

struct ThreadNote {
  // The freezing thread asks, and may withdraw to kGone; the handler claims the note (kStopping),
  // fills it in and waits at kStopped; released, it leaves it at kGone.
  enum State : uint32_t { kAsked, kStopping, kStopped, kReleased, kGone };

  pid_t tid = 0;  // in the zygote
  bool is_timer_helper = false;
  std::atomic<uint32_t> state = kAsked;
  SleepingCall call;  // as the freezing thread saw it before the signal

  // What follows the thread's own handler writes.
  ucontext_t* context = nullptr;  // in the signal's frame, on the thread's stack
  uintptr_t thread_pointer = 0;
  int32_t* tid_address = nullptr;  // glibc's note of its id, which the kernel clears at its end
  void* robust_list = nullptr;
  size_t robust_list_size = 0;
  unsigned long timer_slack = 0;
  bool plain_registers = false;
  bool has_rseq = false;
  char name[16] = {};

  // Where the thread differs from the one that froze.
  bool other_affinity = false, other_policy = false, other_nice = false, other_slack = false;
  int policy = 0, nice = 0;
  unsigned long affinity[16] = {};  // 1024 processors
  HeldMutexes held;
};

// The table that handlers look themselves up in. Plain memory, never moved, made before any signal
// is sent: a stopped thread may hold malloc's lock until the freeze has checked that none does.
class NoteTable {
 public:
  static constexpr size_t kCapacity = 4096;

  static NoteTable* Make();  // null and errno on failure; never unmapped

  ThreadNote* begin() { return notes_; }
  ThreadNote* end() { return notes_ + count_.load(std::memory_order_acquire); }
  const ThreadNote* begin() const { return notes_; }
  const ThreadNote* end() const { return notes_ + count_.load(std::memory_order_acquire); }
  size_t size() const { return count_.load(std::memory_order_acquire); }

  ThreadNote* Find(pid_t tid);
  // The note is complete for handlers when this returns. Null when the table is full.
  ThreadNote* Add(pid_t tid, const SleepingCall& call);
  void Clear() { count_.store(0, std::memory_order_release); }

  std::atomic<uint32_t> stopped = 0;  // a futex: grows by one with every handler that has begun

 private:
  std::atomic<size_t> count_ = 0;
  ThreadNote notes_[kCapacity];
};

// Takes the signal for `table`, the one in use. Null: leaves handlers nothing to look up.
Result<> InstallFreezeHandler(NoteTable* table);
// Sends it to the thread of `note`. 0, or -errno.
long SendFreezeSignal(const ThreadNote& note);
void UseNoteTable(NoteTable* table);
NoteTable* UsedNoteTable();

// Waits until `word` is no longer `value`, or a timeout. Wakes all who wait.
void FutexWait(const std::atomic<uint32_t>& word, uint32_t value, const timespec* timeout);
void FutexWake(const std::atomic<uint32_t>& word);

}  // namespace spore
