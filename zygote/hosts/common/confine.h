// From a fresh copy of the zygote to a confined runtime: the order of the steps, and why.
#pragma once

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
constexpr int kLandlockFd = 4;  // until it is used

// In the child, ahead of its use: thaws, enters the sandbox and keeps of its descriptors the null
// device as 0, 1, 2, the instance socket and the Landlock ruleset. Allocates nothing.
StepResult EnterSandbox(const FrozenProcess& process, const wire::Fork& request,
                        const ForkDescriptors& fds);

// In the child, once it is known what it becomes: every remaining step, its time recorded.
// `received` are the descriptors of the Specialise message. Allocates nothing.
StepResult Confine(const wire::Specialise& order, uint32_t uid, bool has_landlock,
                   const ReceivedFds& received, const SeccompProgram& final_program, StepLog& log);

}  // namespace spore
