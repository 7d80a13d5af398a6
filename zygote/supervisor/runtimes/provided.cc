#include "zygote/supervisor/runtime.h"

namespace spore {

// LD_LIBRARY_PATH: as Lambda has it for the bootstrap, of the folders that there are.
RuntimeStart StartProvided(const SupervisorOptions& options) {
  return {.arguments = {options.interpreter},
          .environment = {"LD_LIBRARY_PATH=/var/task:/var/task/lib"}};
}

}  // namespace spore
