// All threads of the process but the caller, stopped at a quiescent point, and made again in a
// child.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

#include "sandbox/steps/step.h"
#include "sandbox/sys/result.h"
#include "zygote/sfork/freeze_signal.h"
#include "zygote/sfork/process_timers.h"

namespace spore {

// Owns the stop: the threads go on when it is destroyed in the process that stopped them. A child
// calls Disown before anything else.
class StoppedThreads {
 public:
  StoppedThreads() = default;
  StoppedThreads(StoppedThreads&& other) noexcept;
  StoppedThreads& operator=(StoppedThreads&& other) noexcept;
  StoppedThreads(const StoppedThreads&) = delete;
  StoppedThreads& operator=(const StoppedThreads&) = delete;
  ~StoppedThreads() { Release(); }

  // Waits up to `patience` for a moment in which every other thread sleeps in a call that can be
  // made again, and none of their timers' signals is on its way; then `timers` holds those.
  // `caller_id` is where glibc keeps the caller's id. While they are stopped nothing is allocated
  // here, since one of them may hold malloc's lock; RunTrial tells.
  static Result<StoppedThreads> Stop(std::chrono::milliseconds patience, const int32_t* caller_id,
                                     ProcessTimers* timers);

  // Notes of scheduling, and refusal of what could not be made again: real-time policies, a nice
  // value that an unprivileged child could not take, registers and ids that are not as glibc's.
  // Signals that are pending, but for those of held timers, are refused as well.
  Result<> NoteAttributes(uint64_t timer_signals);

  // In a child. No thread runs before `timers` are there too.
  StepResult Revive(uint32_t rseq_length, const ProcessTimers& timers) const;
  static void Disown();

  size_t size() const { return table_ == nullptr ? 0 : table_->size(); }
  // Threads that have ended, whose entry the kernel keeps until the process ends.
  size_t ended() const { return ended_; }

 private:
  void Release();

  NoteTable* table_ = nullptr;
  size_t ended_ = 0;
};

}  // namespace spore
