// An OCI image layout (OCI image spec 1.1: image-layout.md, manifest.md, config.md) below one
// directory: from its index to the layers of the image for this host, each digest and size checked.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "daemon/unpack/image_archive.h"
#include "sandbox/sys/result.h"

namespace spore::unpack {

// Whether `directory` holds one.
bool IsOciLayout(int directory);

struct OciImage {
  std::string digest;       // of its manifest
  std::string environment;  // of its configuration: "NAME=VALUE" each, and a NUL
  std::vector<std::string> notes;
};

// Applies all layers of the only image for this host, in order.
// kInvalid when there is none or several, when a blob is missing, or is not what its digest, its
// size or, decompressed, its diff_id say.
Result<OciImage> UnpackOciLayout(int layout, ImageArchive& archive, uint64_t max_bytes);

}  // namespace spore::unpack
