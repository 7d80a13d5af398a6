// The system call that a thread sleeps in, and whether it can be made a second time.
//
// A thread that is copied comes back in the middle of its call twice: in the zygote never, in each
// child once, as a signal handler's return would bring it back. Calls for which that is sound are
// in a list; a thread in any other call, or running, is not quiescent.
#pragma once

#include <sys/types.h>
#include <ucontext.h>

#include <cstdint>
#include <string>

namespace spore {

struct SleepingCall {
  long number = -1;  // -1: blocked, but not in a system call (a page fault)
  uint64_t arguments[6] = {};
  uint64_t stack_pointer = 0;
  uint64_t instruction = 0;  // after the one that made the call
};

enum class ThreadState { kSleeping, kRunning, kEnded };

// From /proc/self/task/TID/syscall. Allocates nothing, so that it can be used while a stopped
// thread may hold malloc's lock.
ThreadState ReadSleepingCall(pid_t tid, SleepingCall* call);

// What a copied thread finds.
enum class Resumption {
  kRefused,      // not a call that can be interrupted and made again
  kAgain,        // the call is made again with the same arguments
  kInterrupted,  // the call fails with EINTR, as after any signal
};
Resumption ResumptionOf(const SleepingCall& call);

// Whether an interrupted thread is where `call` says and has not come any further; then sets the
// context up for the resumption.
bool PrepareResumption(const SleepingCall& call, ucontext_t& context);

// "futex", "call 999", "no system call", for messages.
std::string CallName(const SleepingCall& call);

}  // namespace spore
