#include <sched.h>

#include "sandbox/steps/step.h"

namespace spore {

StepResult JoinNamespaces(const NamespaceFds& fds) {
  // The mount namespace last: joining it resets root and working directory to the new root.
  if (setns(fds.ipc, CLONE_NEWIPC) < 0) return StepFailed("setns ipc");
  if (setns(fds.uts, CLONE_NEWUTS) < 0) return StepFailed("setns uts");
  if (setns(fds.net, CLONE_NEWNET) < 0) return StepFailed("setns net");
  if (setns(fds.cgroup, CLONE_NEWCGROUP) < 0) return StepFailed("setns cgroup");
  if (setns(fds.mount, CLONE_NEWNS) < 0) return StepFailed("setns mount");
  return StepOk();
}

StepResult CompleteNamespaces() {
  if (unshare(CLONE_NEWNET | CLONE_NEWCGROUP) < 0)
    return StepFailed("unshare CLONE_NEWNET | CLONE_NEWCGROUP");
  return StepOk();
}

}  // namespace spore
