// From an archive of plain files to a folder of them.
#pragma once

#include "daemon/unpack/image_archive.h"
#include "sandbox/sys/result.h"

namespace spore::unpack {

struct PlainMade {
  std::string digest;  // of the archive
  uint64_t bytes = 0;
  uint64_t entries = 0;
};

// Reads a tar archive, compressed or not, from `source`, a file, and leaves what it holds in
// `directory`. What is no plain file the caller refuses.
Result<PlainMade> UnpackPlain(int source, int directory, const ImageLimits& limits);

}  // namespace spore::unpack
