#include "zygote/supervisor/runtime.h"

namespace spore {

// -I: nothing of the environment or the working directory decides what is imported; -B: no
// bytecode is written; -X utf8: as in any current Lambda runtime.
RuntimeStart StartPython(const SupervisorOptions& options) {
  std::vector<std::string> words = {options.interpreter, "-I", "-B", "-X", "utf8"};
  words.insert(words.end(), options.interpreter_options.begin(), options.interpreter_options.end());
  words.insert(words.end(), {std::string(kHostDirectory) + "python/host.py", PreloadList(options)});
  return {.arguments = std::move(words), .environment = {}};
}

}  // namespace spore
