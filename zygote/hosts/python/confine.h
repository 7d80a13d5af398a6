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
  int landlock = -1, instance = -1, stdin_fd = -1, stdout_fd = -1, stderr_fd = -1, code = -1;
  int cgroup_v2 = -1;
  int cgroup_procs[wire::kMaxCgroupProcs] = {};
};
Result<ForkDescriptors> NameDescriptors(const wire::Fork& request, const ReceivedFds& fds);

// In the child. Runs every step and records its time; descriptors end up as 0, 1, 2 and
// kInstanceFd. Allocates nothing.
constexpr int kInstanceFd = 3;
StepResult Confine(const FrozenProcess& process, const wire::Fork& request,
                   const ForkDescriptors& fds, const SeccompProgram& final_program, StepLog& log);

}  // namespace spore
