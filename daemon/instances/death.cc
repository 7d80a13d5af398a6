#include "daemon/instances/death.h"

#include <signal.h>

#include <algorithm>
#include <cstring>

namespace spore {
namespace {

std::string SignalText(int signal) {
  const char* name = sigabbrev_np(signal);
  return name != nullptr ? "SIG" + std::string(name) : "signal " + std::to_string(signal);
}

v1::Usage ToUsage(const DeathFacts& facts) {
  v1::Usage usage;
  const uint64_t runtime_cpu = facts.runtime ? facts.runtime->cpu_us : 0;
  const uint64_t runtime_peak = facts.runtime ? facts.runtime->max_rss_bytes : 0;
  usage.set_cpu_us(std::max(facts.usage.cpu_us, runtime_cpu));
  // The resident size counts pages shared with the zygote: only where nothing better is known.
  usage.set_memory_peak_bytes(facts.usage.memory_peak_bytes != 0 ? facts.usage.memory_peak_bytes
                                                                 : runtime_peak);
  usage.set_memory_limit_bytes(facts.memory_limit_bytes);
  usage.set_pids_limit_hits(facts.usage.pids_limit_hits);
  usage.set_wall_us(facts.wall_us);
  return usage;
}

void SetOutOfMemory(v1::Death& death, const DeathFacts& facts) {
  death.set_cause(v1::Death::OUT_OF_MEMORY);
  death.set_signal(SIGKILL);
  death.set_message("killed by the kernel: out of memory, limit " +
                    std::to_string(facts.memory_limit_bytes >> 20) + " MB");
}

void SetPids(v1::Death& death, const DeathFacts& facts) {
  death.set_cause(v1::Death::PIDS);
  death.set_message("ended after it had hit its limit of " + std::to_string(facts.pids_limit) +
                    " processes");
}

void FromExit(v1::Death& death, const DeathFacts& facts) {
  const wire::ProcessExited& exited = *facts.runtime;
  if (exited.code == CLD_EXITED) {
    death.set_exit_code(exited.status);
    death.set_cause(v1::Death::EXIT);
    death.set_message("exited with status " + std::to_string(exited.status));
    if (exited.status == 0) return;
    // A runtime that lost a child to the oom killer, or could not start one, often just gives up.
    if (facts.usage.oom_kills > 0) {
      SetOutOfMemory(death, facts);
      death.set_signal(0);
    } else if (facts.usage.pids_limit_hits > 0) {
      SetPids(death, facts);
    }
    return;
  }
  if (exited.status == SIGKILL && facts.usage.oom_kills > 0) return SetOutOfMemory(death, facts);
  death.set_signal(exited.status);
  if (exited.status != SIGKILL && facts.usage.pids_limit_hits > 0) return SetPids(death, facts);
  death.set_cause(v1::Death::SIGNAL);
  death.set_message("ended by " + SignalText(exited.status) +
                    (exited.status == SIGSYS ? ": it made a forbidden system call" : ""));
}

}  // namespace

void DeathFacts::KilledFor(v1::Death::Cause cause, const std::string& message) {
  if (runtime) return;
  killed_for = cause;
  kill_message = message;
}

void DeathFacts::Complete(const CgroupUsage& used, const v1::Limits& limits,
                          const std::optional<Error>& start_error) {
  usage = used;
  memory_limit_bytes = limits.memory_bytes();
  pids_limit = limits.pids();
  if (!start_error || killed_for != v1::Death::CAUSE_UNSPECIFIED) return;
  killed_for = v1::Death::DAEMON;
  kill_message = "it could not be started: " + start_error->Message();
}

v1::Death DetermineDeath(const DeathFacts& facts) {
  v1::Death death;
  *death.mutable_usage() = ToUsage(facts);
  if (facts.killed_for != v1::Death::CAUSE_UNSPECIFIED) {
    death.set_cause(facts.killed_for);
    death.set_message(facts.kill_message);
  } else if (facts.runtime) {
    FromExit(death, facts);
  } else if (facts.supervisor_lost) {
    death.set_cause(v1::Death::DAEMON);
    death.set_message("the supervisor of its image ended");
  } else if (facts.usage.oom_kills > 0) {
    SetOutOfMemory(death, facts);
  } else {
    death.set_cause(v1::Death::SIGNAL);
    death.set_signal(SIGKILL);
    death.set_message("the init of its sandbox was killed");
  }
  return death;
}

v1::FunctionError ErrorOfDeath(const v1::Death& death, const std::string& request_id) {
  v1::FunctionError error;
  std::string type = "Runtime.ExitError";
  std::string text;
  switch (death.cause()) {
    case v1::Death::TIMEOUT:
      type = "Sandbox.Timedout";
      text = death.message();
      break;
    case v1::Death::OUT_OF_MEMORY:
      type = "Runtime.OutOfMemory";
      text = "Runtime was " + death.message();
      break;
    case v1::Death::RESPONSE_TOO_LARGE:
      type = "Function.ResponseSizeTooLarge";
      text = death.message();
      break;
    case v1::Death::EXIT:
      text = death.exit_code() == 0
                 ? "Runtime exited without providing a reason"
                 : "Runtime exited with error: exit status " + std::to_string(death.exit_code());
      break;
    case v1::Death::SIGNAL:
      text = "Runtime exited with error: " + death.message();
      break;
    default:
      text = "Runtime ended: " + death.message();
      break;
  }
  error.set_type(type);
  error.set_message("RequestId: " + request_id + " Error: " + text);
  *error.mutable_death() = death;
  return error;
}

std::string CauseName(v1::Death::Cause cause) {
  std::string name = v1::Death::Cause_Name(cause);
  std::transform(name.begin(), name.end(), name.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return name;
}

}  // namespace spore
