// Unpacks a zip or tar archive from memory into a directory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "daemon/unpack/entry_name.h"
#include "sandbox/sys/result.h"

namespace spore::unpack {

struct ExtractLimits {
  uint64_t bytes = 0;  // unpacked, as written; never what headers promise
  uint32_t files = 0;  // files, folders and links
  NameLimits names;
};

struct Extracted {
  uint64_t bytes = 0;
  uint32_t files = 0;
};

// Files get mode 0755 (when the owner may execute them) or 0644, folders 0755; owners, times and
// special bits are not kept. A hard link becomes a copy, counted in full. Errors of the archive are
// kInvalid and name the entry. What was written before an error stays; the caller discards it.
Result<Extracted> Extract(std::span<const std::byte> archive, int directory,
                          const ExtractLimits& limits);

// "sha256:<hex>".
std::string Digest(std::span<const std::byte> archive);

}  // namespace spore::unpack
