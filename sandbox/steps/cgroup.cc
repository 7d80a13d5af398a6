#include <sched.h>
#include <unistd.h>

#include "sandbox/steps/step.h"

namespace spore {

StepResult EnterCgroups(const int* procs_fds, uint32_t count, bool make_namespace) {
  for (uint32_t i = 0; i < count; ++i) {
    // "0" is the writer. The descriptor's opener is what the kernel checks, see cgroup.h.
    if (write(procs_fds[i], "0", 1) != 1) return StepFailed("write cgroup.procs of a v1 hierarchy");
  }
  if (make_namespace && unshare(CLONE_NEWCGROUP) < 0) return StepFailed("unshare CLONE_NEWCGROUP");
  return StepOk();
}

}  // namespace spore
