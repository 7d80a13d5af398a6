// What libarchive's interface hides: names in a zip archive that hold a NUL byte.
#pragma once

#include <cstddef>
#include <span>

#include "sandbox/sys/result.h"

namespace spore::unpack {

// Refuses (kInvalid) an archive whose central directory lists a name with a NUL byte: libarchive
// would cut the name there. Anything that is no such directory passes; libarchive judges it.
// Archives with more than 65534 entries or beyond 4 GiB (zip64) are not looked at.
Result<> CheckZipNames(std::span<const std::byte> archive);

}  // namespace spore::unpack
