// The supervisor's loop.
#pragma once

#include "zygote/supervisor/options.h"

namespace spore {

// Starts the zygote, then makes sandboxes on request and reports every death, until spored closes
// the supervisor socket. Its return ends the image's pid namespace and with it every sandbox.
int Supervise(const SupervisorOptions& options);

}  // namespace spore
