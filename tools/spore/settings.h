// The options that describe a function or a run: image, limits, environment.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "spore/v1/spore.pb.h"

namespace spore::cli {

// Limits of one sandbox; `--timeout` among them.
void AddLimitOptions(CLI::App& command, v1::Limits& limits);
// Limits that only a deployed function has.
void AddFunctionLimitOptions(CLI::App& command, v1::Limits& limits);

// --runtime, --image, --handler, --isolation, --env and all limits.
void AddSettingsOptions(CLI::App& command, v1::FunctionSettings& settings);

// --env NAME=VALUE, which may be repeated.
void AddEnvironmentOption(CLI::App& command, google::protobuf::Map<std::string, std::string>& map);

}  // namespace spore::cli
