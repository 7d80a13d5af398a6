// What the command itself needs of a manifest (spore-image(5)); spored judges the whole.
#pragma once

#include <string>
#include <vector>

#include "tools/spore/context.h"

namespace spore::cli {

struct ManifestFacts {
  std::string text;
  std::string runtime;
  std::string root;
  std::vector<std::string> packages;
};

// Without a path: nothing.
Expected<ManifestFacts> ReadManifest(const std::string& path);

}  // namespace spore::cli
