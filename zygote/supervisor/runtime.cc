#include "zygote/supervisor/runtime.h"

namespace spore {

DescribeStart FindRuntime(std::string_view name) {
  static constexpr struct {
    std::string_view name;
    DescribeStart start;
  } kRuntimes[] = {
      {"java", StartJava},         {"native", StartNative}, {"node", StartNode},
      {"provided", StartProvided}, {"python", StartPython},
  };
  for (const auto& runtime : kRuntimes) {
    if (runtime.name == name) return runtime.start;
  }
  return nullptr;
}

std::string PreloadList(const SupervisorOptions& options) {
  std::string list;
  for (const std::string& module : options.preload) list += (list.empty() ? "" : ",") + module;
  return list;
}

}  // namespace spore
