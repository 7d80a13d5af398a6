// The options that describe a function or a run: image, limits, environment.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <string>
#include <vector>

#include "spore/v1/spore.pb.h"

namespace spore::cli {

// An option that takes a time above 0, given in milliseconds.
void AddDuration(CLI::App& command, const std::string& name, std::function<void(uint64_t)> set,
                 const std::string& description);

// Memory, processors, processes, room in /tmp, open files.
void AddSandboxLimitOptions(CLI::App& command, v1::Limits& limits);
// Limits of one run: the same and `--timeout`.
void AddLimitOptions(CLI::App& command, v1::Limits& limits);
// Limits that only a deployed function has.
void AddFunctionLimitOptions(CLI::App& command, v1::Limits& limits);

// --runtime, --image, --handler, --isolation, --env and all limits.
void AddSettingsOptions(CLI::App& command, v1::FunctionSettings& settings);

// --env NAME=VALUE, which may be repeated.
void AddEnvironmentOption(CLI::App& command, google::protobuf::Map<std::string, std::string>& map);

}  // namespace spore::cli
