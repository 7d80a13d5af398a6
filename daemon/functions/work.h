// One invocation or run on its way through the daemon, and what came of it.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "daemon/common/trace.h"
#include "daemon/functions/function_store.h"
#include "daemon/loop/close_aside.h"
#include "daemon/rpc/payload_budget.h"
#include "sandbox/sys/result.h"
#include "sandbox/sys/unique_fd.h"
#include "spore/v1/spore.pb.h"

namespace spore {

// As counters and logs have it; of an unspecified one "fork".
inline std::string StartKindName(v1::StartKind kind) {
  switch (kind) {
    case v1::START_KIND_WARM:
      return "warm";
    case v1::START_KIND_RESTORE:
      return "restore";
    case v1::START_KIND_COLD:
      return "cold";
    default:
      return "fork";
  }
}

struct WorkResult {
  std::optional<Error> refused;            // Spore could not do it; nothing below is set
  std::string payload;                     // of a function that succeeded
  std::optional<v1::FunctionError> error;  // of one that failed
  v1::Death death;                         // of a run
  v1::StartKind start_kind = v1::START_KIND_UNSPECIFIED;
  std::string start_reason;
  bool loaded_ahead = false;  // of an instance that had served nobody, the function was loaded
  std::string instance_id;
  std::string log_tail;
  uint64_t duration_us = 0;
};

struct Work {
  explicit Work(uint64_t received_ns) : queued_ns(received_ns), trace(received_ns) {}

  uint64_t id = 0;
  std::shared_ptr<const FunctionVersion> version;  // null: a run
  std::string qualifier;                           // by which it was asked for
  std::string image;
  v1::Limits limits;
  v1::Isolation isolation = v1::ISOLATION_INVOCATION;
  uid_t owner = 0;  // of the instance that is started for it
  std::string request_id;

  std::string payload;
  std::string client_context;
  PayloadBudget::Charge charge;  // for these, or the script
  bool want_tail = false;
  // What is asked of the runtime beside: whether these modules are there when it has loaded; of how
  // much each took (daemon/functions/advice.h).
  std::vector<std::string> watch;
  bool measure = false;

  v1::RunRequest run;
  std::vector<ClientFd> standard_fds;  // stdin, stdout, stderr of a run
  bool runs_program = false;           // the run's; else it runs a script
  UniqueFd program;                    // a sealed memfd; none: it is one of the image

  // Set for what is no instance but takes the place of one: called with that, in place of a start.
  std::function<void(uint64_t slot)> placed;

  uint64_t queued_ns;  // since when it waits for an instance
  TraceLog trace;
  std::string start_reason;
  // Called exactly once. The work itself (with its trace) is still there during the call.
  std::function<void(const Work& work, WorkResult result)> done;
};

}  // namespace spore
