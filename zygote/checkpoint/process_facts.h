// What both who dumps a session and who restores one look at in its processes, from outside.
#pragma once

#include <sys/types.h>

#include <string>

#include "sandbox/sys/result.h"

namespace spore {

// Or nobody has reaped it yet.
bool HasEnded(pid_t tid);

// Whether a thread has another table of descriptors than the process's first one, whose alone
// /proc/PID/fd and pidfd_getfd(2) show (kcmp(2)).
Result<bool> HasOwnTable(pid_t pid, pid_t tid);

// Of a /proc/PID/fdinfo file: whether descriptors wait in the socket that nobody has received.
bool HasDescriptorsInFlight(const std::string& fdinfo);

}  // namespace spore
