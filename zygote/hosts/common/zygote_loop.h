// The zygote's life: one order after another, one sfork an order.
#pragma once

#include <string>
#include <utility>
#include <variant>

#include "sandbox/policy/seccomp_program.h"
#include "sandbox/sys/result.h"
#include "zygote/hosts/common/confine.h"
#include "zygote/protocol.h"
#include "zygote/sfork/flatten.h"
#include "zygote/sfork/sfork.h"

namespace spore {

// What a runtime wants done around the clone; each may be null.
struct RuntimeHooks {
  void (*before)() = nullptr;
  void (*in_parent)() = nullptr;
  // Inside its sandbox, not yet confined. Only the calling thread exists.
  void (*in_child)() = nullptr;
};

struct ForkOptions {
  RuntimeHooks hooks;
  // The runtime has threads and descriptors of its own. Each child has them again: the descriptors
  // when it enters its sandbox, the threads when it is confined.
  bool threads = false;
  bool copies_zygotes = false;  // takes ForkZygote orders
  // Bodies of Load and Invoke for a handler of Spore's own: when given, what a child will touch is
  // learnt from it (working_set.h). AwaitTenant returns at once in the child that rehearses.
  std::string rehearsal_load, rehearsal_invoke;
  // From how much on its memory is moved into a file (zygote/sfork/flatten.h): what a child touches
  // and has not populated is then a fault more. docs/decisions/0010 has what was measured.
  uint64_t flat_from_bytes = FlattenOptions().worthwhile_bytes;
  // The runtime warms itself up in each child before AwaitTenant: what that touches is learnt from
  // one that ends there.
  bool warms_up = false;
  // It knows what to do in the interpreter of a session. Without it sessions run programs only.
  bool runs_code = false;
};

constexpr int kZygoteFd = 3;  // the control socket; in a child the same number is kInstanceFd

// What a child loads, compiled once.
struct ChildPrograms {
  SeccompProgram final_program;
  SeccompProgram
      loopback_program;  // in its place, of a child that has loopback where others have none
  SeccompProgram last_program;
};

// A child, inside its sandbox but with the zygote's privileges still: trusted code, about to wait
// and learn what it becomes.
class Unspecialised {
 public:
  Unspecialised(uint32_t uid, const KeptDescriptors& kept, const StepLog& entered,
                FrozenProcess process, ChildPrograms programs, const RuntimeHooks& hooks,
                bool runs_code)
      : uid_(uid),
        kept_(kept),
        entered_(entered),
        process_(std::move(process)),
        programs_(std::move(programs)),
        hooks_(hooks),
        runs_code_(runs_code) {}

  // In the child that rehearses: unconfined, its threads there already; or about to warm up.
  Unspecialised(FrozenProcess process, ChildPrograms programs, bool warms_up)
      : rehearses_(true),
        warms_up_(warms_up),
        process_(std::move(process)),
        programs_(std::move(programs)) {}

  // Gives up all that is not needed any more, waits for the Specialise frame, confines the process
  // for good, and then makes the runtime's threads again, which are born confined. The process ends
  // when spored goes away or a step fails (which spored is told). What becomes a session's agent
  // does not return; its interpreters do, with kSession and all of their threads.
  wire::Mode AwaitTenant() const;

 private:
  void ServeAsAgent(const wire::Confined& confined) const;
  pid_t CopyForCode() const;

  bool rehearses_ = false;
  bool warms_up_ = false;
  uint32_t uid_ = 0;
  KeptDescriptors kept_;
  StepLog entered_;  // steps made ahead
  FrozenProcess process_;
  ChildPrograms programs_;
  RuntimeHooks hooks_;
  bool runs_code_ = false;
};

// A copy that is to be a zygote, with all that the zygote had but its control socket: that is its
// own. It imports what it is told to and serves in its turn.
struct LibraryZygote {
  std::string modules;  // comma-separated
};
using Copy = std::variant<Unspecialised, LibraryZygote>;

// Freezes the process, tells spored that it is ready, and serves its orders. Returns only in a
// copy; the zygote itself leaves through the error when spored is gone or something no later
// order could mend has happened.
Result<Copy> ServeOrders(wire::ZygoteReady ready, const ForkOptions& options);
// The same for a runtime whose copies cannot be zygotes.
Result<Unspecialised> ServeForks(wire::ZygoteReady ready, const ForkOptions& options);

// Tells spored why this zygote cannot be.
void ReportUnready(const char* reason);

}  // namespace spore
