// spored put together: every part, in the order in which they need each other.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "daemon/config/config.h"
#include "sandbox/sys/result.h"

namespace spore {

// Serves until SIGTERM or SIGINT, then ends every sandbox and returns. Logs what it does.
Result<> RunDaemon(const Config& config, const std::map<std::string, ImageManifest>& images);

}  // namespace spore
