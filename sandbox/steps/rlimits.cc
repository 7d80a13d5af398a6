#include <sys/resource.h>

#include "sandbox/steps/step.h"

namespace spore {
namespace {

bool Lower(__rlimit_resource resource, rlim_t value) {
  rlimit limit{};
  if (getrlimit(resource, &limit) < 0) return false;
  // Raising a hard limit needs CAP_SYS_RESOURCE of the host; the host's own bound then stands.
  const rlim_t hard = value < limit.rlim_max ? value : limit.rlim_max;
  limit = {hard, hard};
  return setrlimit(resource, &limit) == 0;
}

}  // namespace

StepResult LimitResources(const ResourceLimits& limits) {
  if (!Lower(RLIMIT_NOFILE, limits.open_files)) return StepFailed("setrlimit RLIMIT_NOFILE");
  if (limits.file_size_bytes != 0 && !Lower(RLIMIT_FSIZE, limits.file_size_bytes))
    return StepFailed("setrlimit RLIMIT_FSIZE");
  return StepOk();
}

StepResult LimitFixedResources() {
  // Not 0: a core_pattern that is a pipe starts its program all the same, as root of the host. The
  // kernel refuses that for 1 (do_coredump in fs/coredump.c), which is too small for a file as
  // well.
  if (!Lower(RLIMIT_CORE, 1)) return StepFailed("setrlimit RLIMIT_CORE");
  if (!Lower(RLIMIT_MEMLOCK, 64 * 1024)) return StepFailed("setrlimit RLIMIT_MEMLOCK");
  // Queued signals and POSIX timers count for the whole user namespace as well, which all sandboxes
  // of an image share: one must not use up everybody's.
  if (!Lower(RLIMIT_SIGPENDING, 1024)) return StepFailed("setrlimit RLIMIT_SIGPENDING");
  if (!Lower(RLIMIT_MSGQUEUE, 0)) return StepFailed("setrlimit RLIMIT_MSGQUEUE");
  if (!Lower(RLIMIT_RTPRIO, 0)) return StepFailed("setrlimit RLIMIT_RTPRIO");
  if (!Lower(RLIMIT_NICE, 0)) return StepFailed("setrlimit RLIMIT_NICE");
  return StepOk();
}

}  // namespace spore
