#include "zygote/supervisor/runtime.h"

namespace spore {
namespace {

// What the image's manifest adds; ":/opt/lib".
std::string LibraryPath(const SupervisorOptions& options) {
  constexpr std::string_view kName = "LD_LIBRARY_PATH=";
  for (const std::string& word : options.environment) {
    if (word.starts_with(kName)) return ":" + word.substr(kName.size());
  }
  return {};
}

}  // namespace

// LD_LIBRARY_PATH: a function's own libraries lie beside it. ld.so reads it once, at the start,
// when the directory is empty yet.
RuntimeStart StartNative(const SupervisorOptions& options) {
  return {.arguments = {options.interpreter, PreloadList(options)},
          .environment = {"LD_LIBRARY_PATH=/var/task" + LibraryPath(options)}};
}

}  // namespace spore
