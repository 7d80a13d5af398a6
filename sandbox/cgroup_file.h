// Small files of kernel file systems: read whole, write in one call.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "sandbox/sys/result.h"
#include "sandbox/sys/unique_fd.h"

namespace spore {

Result<std::string> ReadFile(const std::string& path);
Result<std::string> ReadFileAt(int directory, const char* name);
Result<> WriteFileAt(int directory, const char* name, std::string_view text);
bool ExistsAt(int directory, const char* name);
Result<UniqueFd> OpenDirectory(const std::string& path);

// The number that a file holds; `fallback` when it is missing or holds none ("max").
uint64_t ReadNumberAt(int directory, const char* name, uint64_t fallback);
// The number behind `key` in lines of "key number"; 0 when there is none.
uint64_t KeyedNumber(std::string_view text, std::string_view key);

}  // namespace spore
