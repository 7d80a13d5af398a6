// From the archive of an image to its root.
#pragma once

#include <string>
#include <vector>

#include "daemon/unpack/image_archive.h"
#include "sandbox/sys/result.h"

namespace spore::unpack {

struct ImageMade {
  std::string digest;  // of the archive, or of the OCI image's manifest
  uint64_t bytes = 0;
  uint64_t entries = 0;
  std::vector<std::string> notes;
};

// Reads a tar archive from `source`, a file or pipe: either the root itself, or an OCI image
// layout. Leaves the root as `directory`/root, an OCI image's environment as
// `directory`/environment ("NAME=VALUE" each, and a NUL), and what else it needed beside them. Adds
// to the root the folders that Spore mounts on, and what libraries look for in /etc.
Result<ImageMade> UnpackImage(int source, int directory, const ImageLimits& limits);

}  // namespace spore::unpack
