// The part of a restore that is done from within the sandbox, by a process of the host's root in
// its namespaces: CRIU's workplace, and CRIU.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <utility>
#include <vector>

#include "sandbox/sys/result.h"
#include "zygote/checkpoint/child_process.h"
#include "zygote/checkpoint/confined_criu.h"
#include "zygote/checkpoint/workplace.h"

namespace spore {

class RestoreWorker {
 public:
  struct Order {
    int init_pidfd = -1;  // whose namespaces
    uid_t owner = 0;      // its uid, as the host sees it
    const ConfinedCriu& criu;
  };
  // Its number in the sandbox's pid namespace lies above all that the session had.
  static Result<RestoreWorker> Start(const Order& order);
  ~RestoreWorker();  // ends it
  RestoreWorker(RestoreWorker&&) noexcept = default;
  RestoreWorker& operator=(RestoreWorker&&) = delete;

  // Until CRIU has done its part and ended. What it has restored is stopped, unless CRIU has been
  // deceived: nothing is known of it yet.
  Result<> AwaitCriu();
  // Workplace::mounts; after AwaitCriu.
  const std::vector<ForbiddenMount>& forbidden() const { return forbidden_; }
  // Removes the workplace and ends.
  Result<> Finish();

 private:
  RestoreWorker(ChildProcess process, std::chrono::milliseconds limit)
      : process_(std::move(process)), limit_(limit) {}

  ChildProcess process_;
  std::chrono::milliseconds limit_;
  std::vector<ForbiddenMount> forbidden_;
};

}  // namespace spore
