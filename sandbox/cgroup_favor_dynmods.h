// Cheap moves of whole processes between cgroups.
//
// A write to cgroup.procs takes a lock that is one for the whole kernel, and after a pause the
// writer first waits for an RCU grace period (milliseconds). As long as some hierarchy is mounted
// with `favordynmods` (Linux 6.0; Documentation/admin-guide/cgroup-v2.rst) it does not. A private,
// empty v1 hierarchy will do, mounted nowhere: it goes away with its descriptor, however the
// process ends. Since Linux 6.18 the effect itself stays until the next boot. Sandboxes do not need
// it (Cgroup::v1_procs); only moves from outside (Cgroup::Attach) gain.
#pragma once

#include "sandbox/sys/result.h"
#include "sandbox/sys/unique_fd.h"

namespace spore {

Result<UniqueFd> MountFavorDynmods();

}  // namespace spore
