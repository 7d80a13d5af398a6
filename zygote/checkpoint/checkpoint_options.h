// The command lines of `spore-zygote checkpoint` and `spore-zygote restore`, which only spored
// calls: words NAME=VALUE.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "sandbox/policy/network_policy.h"
#include "sandbox/sys/result.h"

namespace spore {

// Of the session, both.
struct CheckpointOptions {
  uid_t uid = 0;                      // uid=N: of its processes, inside the image's user namespace
  int32_t agent = 0;                  // agent=N: its pid in the session's pid namespace
  std::vector<std::string> cgroups;   // cgroup=PATH: the session's, in every hierarchy; one has
                                      // cgroup.freeze
  std::vector<std::string> enter;     // enter=PATH: the cgroup of CRIU while it dumps
  bool loopback = false;              // loopback: its `lo` is up, and its policy allows that
  std::chrono::milliseconds limit{};  // limit-ms=N: of CRIU

  bool leave_running = false;  // leave-running; checkpoint only

  // restore only
  int32_t descriptor = -1;  // descriptor=N: the agent's, of the other end (session_park.h)
  int32_t last_number = 0;  // last-number=N: CheckpointSessionDone's
  uint64_t open_files = 0;  // open-files=N: as wire::Specialise has it
  std::string denied;       // denied=NAME,NAME: as wire::Prepare has them
  // monotonic-ns=N, boottime-ns=N: what clocks of the session told when it was dumped
  uint64_t monotonic_ns = 0, boottime_ns = 0;

  NetworkPolicy network() const {
    return loopback ? NetworkPolicy(LoopbackSockets()) : NetworkPolicy();
  }
};

Result<CheckpointOptions> ParseCheckpointOptions(int argc, char** argv);

}  // namespace spore
