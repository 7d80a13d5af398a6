// From the host into an image: namespaces, root, user namespace.
#pragma once

#include <functional>

#include "sandbox/sys/result.h"
#include "zygote/supervisor/options.h"

namespace spore {

// Called by spore-zygote as root of the host. Clones the supervisor as a *sibling* (CLONE_PARENT:
// spored is its parent and reaps it), writes its uid and gid maps, and returns the launcher's exit
// code. In the supervisor, which is by then pid 1 of a new pid namespace, root of a new user
// namespace and of the image's root, and owner of new mount, ipc, uts and net namespaces,
// `supervise` is called; its result is the process's exit code.
int Launch(const SupervisorOptions& options, const std::function<int()>& supervise);

}  // namespace spore
