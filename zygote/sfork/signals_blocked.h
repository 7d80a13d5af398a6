// All signals blocked in the calling thread while it lives, the freeze signal and glibc's two among
// them: raw calls, since glibc's function and the interposed one leave those out.
#pragma once

#include <signal.h>
#include <sys/syscall.h>

#include <cstdint>

#include "zygote/sfork/arch.h"

namespace spore {

class SignalsBlocked {
 public:
  SignalsBlocked() {
    const uint64_t all = ~uint64_t{0};
    arch::RawSyscall(SYS_rt_sigprocmask, SIG_SETMASK, reinterpret_cast<long>(&all),
                     reinterpret_cast<long>(&mask_), sizeof mask_);
  }
  ~SignalsBlocked() {
    arch::RawSyscall(SYS_rt_sigprocmask, SIG_SETMASK, reinterpret_cast<long>(&mask_), 0,
                     sizeof mask_);
  }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;

 private:
  uint64_t mask_ = 0;
};

}  // namespace spore
