// Takes all power from the proxy but that of making connections.
#pragma once

#include <sys/types.h>

#include "sandbox/sys/result.h"

namespace spore::egress {

// Called as root: an identity of its own, no capability, ends with its parent, fixed limits.
Result<> DropPrivileges(uid_t uid);
// Afterwards, when all files have been read: no file any more, and no call that it has no use for.
Result<> Confine();

}  // namespace spore::egress
