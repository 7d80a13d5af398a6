// Shared objects in this process (dlopen(3)).
#pragma once

#include <string>

#include "zygote/hosts/native/handler.h"

namespace spore {

// A failure to load, as the caller of the function sees it.
struct LoadFailure {
  std::string type;     // empty: none
  std::string message;  // ends in what dlerror(3) says, where that is the cause
};

// Loads what the image's manifest lists. Empty, or which could not be and why.
std::string Preload(const std::string& list);

// Finds "libhello.so:handle": the file below `root`, or where there is none what was preloaded
// under that name, and the function in it.
LoadFailure LoadHandler(const std::string& spec, const std::string& root, spore_handler** handler);

}  // namespace spore
