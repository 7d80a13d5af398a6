#include "zygote/supervisor/runtime.h"

namespace spore {

// -I: nothing of the environment or the working directory decides what is imported; -B: no
// bytecode is written; -X utf8: as in any current Lambda runtime.
RuntimeStart StartPython(const SupervisorOptions& options) {
  return {.arguments = {options.interpreter, "-I", "-B", "-X", "utf8",
                        std::string(kHostDirectory) + "python/host.py", PreloadList(options)},
          .environment = {}};
}

}  // namespace spore
