// Names of archive entries: which are fit to become files.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "sandbox/sys/result.h"

namespace spore::unpack {

struct NameLimits {
  uint32_t path_bytes = 1024;  // of the whole name
  uint32_t depth = 64;         // components
};

// The name in quotes for a message of one line: what does not print is escaped, what is long is
// cut.
std::string Quote(std::string_view name);

// Brings an entry's name into the form "a/b/c" ("" for the root itself: "./"). Refuses absolute
// names, "..", control characters, what is not UTF-8, and names beyond the limits.
Result<std::string> CleanEntryName(std::string_view name, const NameLimits& limits);

// Refuses a symbolic link whose target, taken literally, leaves the root: an absolute one, or one
// with more ".." than the link's own folder has above it. `link` is a clean name.
Result<> CheckLinkTarget(std::string_view link, std::string_view target, const NameLimits& limits);

}  // namespace spore::unpack
