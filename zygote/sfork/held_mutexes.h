// Mutexes that record their owner's id without being robust, held by a thread that is copied.
#pragma once

#include <pthread.h>
#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <span>

#include "sandbox/sys/result.h"

namespace spore {

// A recursive or error-checking mutex compares its note of the owner with the id of who locks or
// unlocks it, and nobody keeps a list of those held. Whoever holds one and sleeps has its address
// on the stack or in a register, for the unlock to come; there it is found, recognised by its kind,
// its state, and by the thread's id in it.
class HeldMutexes {
 public:
  static constexpr size_t kCapacity = 16;

  // Looks at the stack from `stack_pointer` upwards, and at `registers`, for mutexes that belong to
  // `owner`. More than kCapacity are an error.
  Result<> Find(pid_t owner, uintptr_t stack_pointer, std::span<const uintptr_t> registers);
  // In the copy of the thread, before it runs.
  void TakeOver(pid_t owner) const;
  size_t size() const { return count_; }

 private:
  size_t count_ = 0;
  pthread_mutex_t* mutexes_[kCapacity] = {};
};

}  // namespace spore
