// What people and programs call a start kind.
#pragma once

#include "spore/v1/spore.pb.h"

namespace spore::client {

// "warm", "fork", "restore", "cold"; of one that is none of them: "".
const char* StartName(v1::StartKind kind);

}  // namespace spore::client
