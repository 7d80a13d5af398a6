// spore invoke --async, spore async and spore schedule: what they share.
#pragma once

#include <string>

#include "tools/spore/context.h"

namespace spore::cli {

// TEXT as it is; "@FILE" and "-" (standard input) from there.
Expected<std::string> LoadPayload(const std::string& argument);

void AddAsync(CLI::App& app, Context& context);
void AddSchedule(CLI::App& app, Context& context);

}  // namespace spore::cli
