// What a checkpoint is tied to: it is restored only where all of this is as it was.
#pragma once

#include <string>

#include "daemon/config/config.h"
#include "sandbox/sys/result.h"
#include "spore/v1/spore.pb.h"

namespace spore {

// Fills in ties, boot_id and clock_ns. `host_directory` holds a folder for each runtime. Blocks.
Result<> TieCheckpoint(const ImageManifest& image, const std::string& host_directory,
                       v1::Checkpoint* checkpoint);

// Why `kept` cannot be restored where `here` was made just now; empty when it can.
std::string DifferenceOf(const v1::Checkpoint& kept, const v1::Checkpoint& here);

}  // namespace spore
