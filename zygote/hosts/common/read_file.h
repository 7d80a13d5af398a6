// A small file, whole.
#pragma once

#include <optional>
#include <string>

namespace spore {

// Of a regular file; nothing when it cannot be read, or has more than 256 MiB.
std::optional<std::string> ReadWholeFile(const std::string& path);

}  // namespace spore
