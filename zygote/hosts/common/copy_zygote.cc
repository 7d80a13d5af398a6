#include "zygote/hosts/common/copy_zygote.h"

#include <sched.h>
#include <unistd.h>

namespace spore {
namespace {

StepResult Become(const FrozenProcess& process, int channel, const RuntimeHooks& hooks) {
  if (StepResult r = process.Adopt(); !r.ok()) return r;
  if (StepResult r = process.RenewDescriptors(); !r.ok()) return r;
  if (dup2(channel, kZygoteFd) < 0) return StepFailed("dup2");
  if (close(channel) < 0) return StepFailed("close");
  if (hooks.in_child != nullptr) hooks.in_child();
  return process.ReviveThreads();
}

}  // namespace

Result<pid_t> CopyZygote(const FrozenProcess& process, ReceivedFds& fds, const RuntimeHooks& hooks,
                         UniqueFd* pidfd) {
  if (fds.count != 1)
    return MakeError(ErrorKind::kInternal, "ForkZygote: the descriptors do not fit the message");
  if (hooks.before != nullptr) hooks.before();
  const CloneRequest clone{.flags = CLONE_PARENT, .extra_descriptors = 1};
  Result<pid_t> pid = process.Clone(clone, pidfd);
  if (pid && *pid == 0) {
    const StepResult became = Become(process, fds.fd[0].Release(), hooks);
    if (became.ok()) return 0;
    ReportUnready(became.operation);
    _exit(1);
  }
  if (hooks.in_parent != nullptr) hooks.in_parent();
  return pid;
}

}  // namespace spore
