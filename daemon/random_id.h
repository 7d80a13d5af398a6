// Names drawn at random by the kernel.
#pragma once

#include <string>

namespace spore {

std::string NewInstanceId();  // 12 hexadecimal digits
std::string NewRequestId();   // a UUID, version 4 (RFC 4122)

}  // namespace spore
