// The agent of a session: what answers spored inside the sandbox.
//
// It is the copy of the zygote that was confined, and never runs a byte of the tenant's in its own
// process: programs are executed in children, code runs in a further copy (the interpreter), and
// files are read and written by system calls that cannot wait for anybody. One thread, one poll
// loop. The tenant can end it, stop it, or feed its children whatever it likes; spored knows.
#pragma once

#include <sys/types.h>

#include <functional>
#include <span>

namespace spore {

struct SessionHost {
  // Copies the process: 0 in the copy, which is to become an interpreter; null: the runtime has
  // none.
  std::function<pid_t()> copy;
  std::span<const int> runtime_descriptors;  // that such a copy keeps
};

// Serves kInstanceFd until spored closes it, and then ends the process. Returns in an interpreter
// only: a process group of its own with stdin from /dev/null, stdout and stderr to the agent and,
// as kInstanceFd, the channel on which pieces of code come (session_interpreter.h).
void ServeSession(const SessionHost& host);

}  // namespace spore
