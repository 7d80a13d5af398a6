// What the commands below `spore image` share.
#pragma once

#include <string>

#include "tools/spore/context.h"

namespace spore::cli {

struct ImageArguments {
  std::string name;
  std::string runtime;
  std::string root;      // a path
  std::string manifest;  // a path
  std::string source;    // what is remembered of where it came from; empty: the root's path
  bool quiet = false;
};

// Sends the root to spored and tells what came of it.
Outcome ImportImage(const Context& context, const ImageArguments& arguments);

void AddImageChanges(CLI::App& image, Context& context);
void AddImageBuild(CLI::App& image, Context& context);

}  // namespace spore::cli
