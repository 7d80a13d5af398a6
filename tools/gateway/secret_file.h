// Files that the gateway reads at its start.
#pragma once

#include <string>

#include "tools/client/error.h"

namespace spore::gateway {

// At most 1 MiB of a regular file. Errors name it.
client::Result<std::string> ReadSmallFile(const std::string& path);
// The same of one that only its owner may read.
client::Result<std::string> ReadSecretFile(const std::string& path);

}  // namespace spore::gateway
