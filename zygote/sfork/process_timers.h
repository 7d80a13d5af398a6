// Timers that fork(2) does not copy: POSIX timers (timer_create(2)) and the three of setitimer(2).
#pragma once

#include <sys/time.h>
#include <sys/types.h>
#include <time.h>

#include <array>
#include <cstddef>
#include <cstdint>

#include "sandbox/steps/step.h"
#include "sandbox/sys/result.h"
#include "zygote/sfork/freeze_signal.h"

namespace spore {

struct PosixTimerNote {
  int id = 0;  // the kernel's; a program has it, or glibc for it
  int clock = 0;
  int notify = 0;  // SIGEV_*
  int signal = 0;
  uint64_t value = 0;               // the program's, which comes with the signal
  pid_t tid = 0;                    // SIGEV_THREAD_ID
  const int32_t* thread = nullptr;  // likewise: where glibc keeps that thread's id
  // By the clock's absolute time; what remains where the clock counts the process's CPU time, which
  // begins anew in a child. Zero: not armed.
  itimerspec time{};
};

// Why timers cannot be held.
struct TimerObstacle {
  enum Kind {
    kNone,
    kPending,  // `value` has been sent and not been taken: soon it will be
    kTooMany,
    kHighId,
    kClock,      // `value`
    kNotify,     // in no way known
    kOwnSignal,  // sends one that libsfork stops threads by
    kThread,     // for `value`, which has ended
    kUnreadable,
  };
  Kind kind = kNone;
  int id = 0;
  int value = 0;
};
tl::unexpected<Error> RefuseTimer(const TimerObstacle& obstacle);

// While a process is frozen its timers stand still, as its threads do: none of their signals
// interrupts the zygote, which makes copies, or ends it. They go on when this is destroyed in the
// process that held them, and in each child: every one then expires when it would have.
class ProcessTimers {
 public:
  static constexpr size_t kCapacity = 32;
  // A process counts its timers' ids from 0, and nobody says with which to go on: a child makes and
  // deletes timers until it is a timer's turn. (Linux 6.15 has a prctl(2) to choose ids, but a
  // timer for a thread cannot be made before the thread, and that is not there before the filter
  // that forbids such prctls.)
  static constexpr int kHighestId = 1023;

  ProcessTimers() = default;
  ProcessTimers(ProcessTimers&& other) noexcept;
  ProcessTimers& operator=(ProcessTimers&& other) noexcept;
  ProcessTimers(const ProcessTimers&) = delete;
  ProcessTimers& operator=(const ProcessTimers&) = delete;
  ~ProcessTimers() { Release(); }

  // Notes all timers and disarms them. `stopped` are all other threads, or null; `caller_id` is
  // where glibc keeps the caller's. Allocates nothing. With an obstacle nothing has been touched.
  TimerObstacle Hold(const NoteTable* stopped, const int32_t* caller_id);

  uint64_t Signals() const;  // that any of them may have sent, as a mask
  bool empty() const { return count_ == 0 && !has_interval_timers_; }

  // In a child: makes them again under the ids that they had, and arms them. All threads must be
  // there, and none may run yet. Before, anything else:
  static void Disown();
  StepResult MakeAgain() const;

 private:
  PosixTimerNote* begin() { return notes_.data(); }
  PosixTimerNote* end() { return notes_.data() + count_; }
  const PosixTimerNote* begin() const { return notes_.data(); }
  const PosixTimerNote* end() const { return notes_.data() + count_; }

  TimerObstacle List(const NoteTable* stopped, const int32_t* caller_id);
  bool NoteTimes();
  void Disarm() const;
  bool Arm() const;
  void Release();

  size_t count_ = 0;
  std::array<PosixTimerNote, kCapacity> notes_;  // ascending by id
  // By number (ITIMER_REAL, ...): what remains; zero when not armed. The first is of the clock's
  // time, the others of the process's CPU time.
  std::array<itimerval, 3> interval_timers_{};
  timespec real_deadline_{};  // when nothing will remain of the first, by CLOCK_MONOTONIC
  bool has_interval_timers_ = false;
  bool holds_ = false;
};

}  // namespace spore
