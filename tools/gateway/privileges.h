// What the gateway gives up before it reads a byte of a client's.
#pragma once

#include <string>

#include "tools/client/error.h"

namespace spore::gateway {

// Started as root: becomes `user` with that one's groups, or refuses when none is named. Then, for
// anybody: no new privileges, no core dumps, memory that others of the same user cannot read.
client::Result<> GiveUpPrivileges(const std::string& user);

// As many descriptors as may be had; answers how many.
std::size_t RaiseDescriptorLimit();

}  // namespace spore::gateway
