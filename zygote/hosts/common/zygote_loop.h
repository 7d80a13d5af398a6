// The zygote's life: one order after another, one sfork an order.
#pragma once

#include <utility>

#include "sandbox/policy/seccomp_program.h"
#include "sandbox/sys/result.h"
#include "zygote/protocol.h"

namespace spore {

// The runtime's own fork hooks, called around the clone.
struct RuntimeHooks {
  void (*before)();
  void (*in_parent)();
  void (*in_child)();  // inside its sandbox, not yet confined
};

constexpr int kZygoteFd = 3;  // the control socket; in a child the same number is kInstanceFd

// A child, inside its sandbox but with the zygote's privileges still: trusted code, waiting to
// learn what it becomes.
class Unspecialised {
 public:
  Unspecialised(uint32_t uid, bool has_landlock, SeccompProgram final_program)
      : uid_(uid), has_landlock_(has_landlock), final_program_(std::move(final_program)) {}

  // Waits for the Specialise frame and confines the process for good. The process ends when spored
  // goes away or a step fails (which spored is told).
  wire::Mode AwaitTenant() const;

 private:
  uint32_t uid_;
  bool has_landlock_;
  SeccompProgram final_program_;
};

// Freezes the process, tells spored that it is ready, and serves Fork orders. Returns only in a
// child; the zygote itself leaves through the error when spored is gone or something no later
// order could mend has happened.
Result<Unspecialised> ServeForks(wire::ZygoteReady ready, const RuntimeHooks& hooks);

// Tells spored why this zygote cannot be.
void ReportUnready(const char* reason);

}  // namespace spore
