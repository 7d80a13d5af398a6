// The program of a run: what a client may send, and where it lies in the sandbox.
#pragma once

#include <cstdint>
#include <string>

#include "daemon/loop/close_aside.h"
#include "sandbox/sys/result.h"
#include "sandbox/sys/unique_fd.h"
#include "spore/v1/spore.pb.h"

namespace spore {

// Of a run whose runtime executes programs: its arguments, against its resolved limits.
Result<> CheckProgramRequest(const v1::RunRequest& request);
// The program that came with it: a sealed memfd which the sandbox has room for.
Result<UniqueFd> TakeProgram(ClientFd& fd, const v1::Limits& limits);

// The last part of args[0], as the name of a file; "program" where it is none.
std::string ProgramName(const v1::RunRequest& request);

// A detached file system for one file, which the sandbox writes itself (zygote/protocol.h) so that
// its memory is charged there. Nothing of it has a name on the host, and the kernel frees it with
// the sandbox.
struct ProgramMount {
  UniqueFd tree;   // to be attached at /var/task
  UniqueFd place;  // O_PATH: the empty file; its owner alone may write to it
};
Result<ProgramMount> MakeProgramMount(const std::string& name, uint64_t bytes, uid_t owner);

}  // namespace spore
