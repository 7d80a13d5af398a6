// How each language's interpreter is started as a zygote. What differs between them is here: one
// row in runtime.cc and one file a language in runtimes/.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "zygote/supervisor/options.h"

namespace spore {

struct RuntimeStart {
  std::vector<std::string> arguments;    // argv; the first is the program, as seen in the image
  std::vector<std::string> environment;  // K=V; beside what every zygote gets and the image's own
};

using DescribeStart = RuntimeStart (*)(const SupervisorOptions& options);
// Null when there is no such runtime.
DescribeStart FindRuntime(std::string_view name);

// The language hosts' files, as the image sees them: a folder for each runtime.
constexpr const char* kHostDirectory = "/run/spore/host/";
// What the image preloads, as every host takes it: "a,b,c".
std::string PreloadList(const SupervisorOptions& options);

// ---- one file each ----
RuntimeStart StartNative(const SupervisorOptions& options);
RuntimeStart StartPython(const SupervisorOptions& options);
RuntimeStart StartJava(const SupervisorOptions& options);
RuntimeStart StartNode(const SupervisorOptions& options);
RuntimeStart StartProvided(const SupervisorOptions& options);

}  // namespace spore
