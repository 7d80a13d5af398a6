// The library sets of an image's manifest: [[set]], spore-image(5).
#pragma once

#include <string>

#include "daemon/config/config.h"
#include "daemon/config/toml_reader.h"

namespace spore {

// Reads and checks them; `image` has its runtime already. Errors go to `reader`.
void ReadLibrarySets(TomlReader& reader, const std::string& file, ImageManifest& image);

}  // namespace spore
