// The commands that show what the daemon has seen.
#pragma once

#include <string>
#include <vector>

#include "tools/spore/context.h"

namespace spore::cli {

void AddTrace(CLI::App& app, Context& context);    // spore trace
void AddTop(CLI::App& app, Context& context);      // spore top
void AddHistory(CLI::App& app, Context& context);  // spore events

// What `spore events --kind` takes: "instance-ended" and so on.
std::vector<std::string> EventKindNames();

}  // namespace spore::cli
