// Why a sandbox ended, from all that is known about its end.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "sandbox/cgroup.h"
#include "sandbox/sys/result.h"
#include "spore/v1/spore.pb.h"
#include "zygote/protocol.h"

namespace spore {

struct DeathFacts {
  v1::Death::Cause killed_for = v1::Death::CAUSE_UNSPECIFIED;  // spored's own reason, if any
  std::string kill_message;
  std::optional<wire::ProcessExited> runtime;  // its end, unless it died with its sandbox's init
  bool supervisor_lost = false;
  CgroupUsage usage;
  uint64_t memory_limit_bytes = 0;
  uint64_t pids_limit = 0;
  uint64_t wall_us = 0;

  // What ended by itself keeps its own cause.
  void KilledFor(v1::Death::Cause cause, const std::string& message);
  // When nothing of it is left. `start_error`: Spore's own failure while it started.
  void Complete(const CgroupUsage& used, const v1::Limits& limits,
                const std::optional<Error>& start_error);
};

v1::Death DetermineDeath(const DeathFacts& facts);

// What a caller of a function is told when its instance died: AWS Lambda's types and messages.
v1::FunctionError ErrorOfDeath(const v1::Death& death, const std::string& request_id);

// "out_of_memory": the name of a cause in statistics.
std::string CauseName(v1::Death::Cause cause);

}  // namespace spore
