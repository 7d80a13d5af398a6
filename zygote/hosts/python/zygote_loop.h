// The zygote's life: one order after another, one sfork an order.
#pragma once

#include "sandbox/sys/result.h"
#include "zygote/protocol.h"

namespace spore {

// The runtime's own fork hooks, called around the clone.
struct RuntimeHooks {
  void (*before)();
  void (*in_parent)();
  void (*in_child)();  // confined already
};

constexpr int kZygoteFd = 3;  // the control socket; in a child the same number is kInstanceFd

// Freezes the process, tells spored that it is ready, and serves Fork orders. Returns only in a
// child, confined, with its mode; the zygote itself leaves through the error when spored is gone
// or something no later order could mend has happened.
Result<wire::Mode> ServeForks(wire::ZygoteReady ready, const RuntimeHooks& hooks);

// Tells spored why this zygote cannot be.
void ReportUnready(const char* reason);

}  // namespace spore
