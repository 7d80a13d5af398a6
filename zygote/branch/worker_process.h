// What the processes have in common that work on sessions from outside: `spore-zygote branch`,
// `checkpoint` and `restore`.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <cstring>

#include "sandbox/sys/result.h"

namespace spore {

// First of all: it ends with spored, its files are its own, as many as may be are open at once
// (folders that are held open while what is in them is copied), the fault points of SPORE_FAULT
// are armed, and the descriptors from spored, 3 to `last_fd`, outlive no exec.
Result<> BeginWorker(const char* name, int last_fd);

// The process, in our pid namespace; 0: it has ended.
pid_t PidBehind(int pidfd);

// Into what spored is told.
template <typename Done>
void PutError(const Error& error, Done& done) {
  done.error_kind = static_cast<uint32_t>(error.kind);
  strncpy(done.error, error.Message().c_str(), sizeof done.error - 1);
}

}  // namespace spore
