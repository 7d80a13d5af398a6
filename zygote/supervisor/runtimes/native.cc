#include "zygote/supervisor/runtime.h"

namespace spore {

// LD_LIBRARY_PATH: a function's own libraries lie beside it. ld.so reads it once, at the start,
// when the directory is empty yet.
RuntimeStart StartNative(const SupervisorOptions& options) {
  return {.arguments = {options.interpreter, PreloadList(options)},
          .environment = {"LD_LIBRARY_PATH=/var/task"}};
}

}  // namespace spore
