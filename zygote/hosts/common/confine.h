// From a fresh copy of the zygote to a confined runtime: the order of the steps, and why.
#pragma once

#include <array>
#include <span>

#include "sandbox/policy/seccomp_program.h"
#include "sandbox/steps/step.h"
#include "sandbox/sys/fd_message.h"
#include "sandbox/sys/step_log.h"
#include "zygote/protocol.h"
#include "zygote/sfork/sfork.h"

namespace spore {

// The descriptors of a wire::Fork, by name. -1: not sent. Borrowed from the received message.
struct ForkDescriptors {
  NamespaceFds namespaces;
  int landlock = -1, instance = -1, cgroup_v2 = -1;
  int cgroup_procs[wire::kMaxCgroupProcs] = {};
};
Result<ForkDescriptors> NameDescriptors(const wire::Fork& request, const ReceivedFds& fds);

constexpr int kInstanceFd = 3;

// What stays open in a child while it has to: the runtime's own descriptors and the Landlock
// ruleset, all under the numbers that they have. In fixed space.
class KeptDescriptors {
 public:
  // `ruleset` may be -1. False when there are more than fit.
  bool Set(std::span<const int> runtime, int ruleset);
  int ruleset() const { return ruleset_; }
  std::span<const int> all() const { return {fd_.data(), count_}; }

 private:
  std::array<int, 256> fd_{};
  size_t count_ = 0;
  int ruleset_ = -1;
};

// In the child, ahead of its use: becomes a process of its own, enters the sandbox and keeps of its
// descriptors the null device as 0, 1, 2, the instance socket and `kept`. It still has one thread.
// Allocates nothing.
StepResult EnterSandbox(const FrozenProcess& process, const wire::Fork& request,
                        const ForkDescriptors& fds, const KeptDescriptors& kept, StepLog& log);

// In the child, before it waits to learn what it becomes: every step that is the same for all.
// Allocates nothing, as what follows.
StepResult ConfineAhead(uint32_t uid, const SeccompProgram& final_program);

// Once it is known what it becomes: every remaining step, its time recorded. `received` are the
// descriptors of the Specialise message.
StepResult Confine(const wire::Specialise& order, const KeptDescriptors& kept,
                   const ReceivedFds& received, const SeccompProgram& last_program, StepLog& log);

}  // namespace spore
