#include <grp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sandbox/steps/step.h"

namespace spore {

StepResult TakeIdentity(uid_t id, bool dumpable) {
  // Raw calls: glibc's wrappers signal every thread it believes to exist, and after an sfork it
  // may believe in threads that are not there yet.
  if (syscall(SYS_setgroups, 0, nullptr) < 0) return StepFailed("setgroups to none");
  if (syscall(SYS_setresgid, id, id, id) < 0) return StepFailed("setresgid");
  if (syscall(SYS_setresuid, id, id, id) < 0) return StepFailed("setresuid");
  if (dumpable && prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) < 0)
    return StepFailed("prctl PR_SET_DUMPABLE");
  return StepOk();
}

}  // namespace spore
