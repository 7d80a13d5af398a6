// Names and numbers drawn at random by the kernel.
#pragma once

#include <cstdint>
#include <string>

namespace spore {

uint64_t RandomNumber();
double RandomFraction();      // of 0 to below 1
std::string NewInstanceId();  // 12 hexadecimal digits
std::string NewRequestId();   // a UUID, version 4 (RFC 4122)

}  // namespace spore
