#include "zygote/supervisor/runtime.h"

namespace spore {

// LD_PRELOAD: the host's addon must see every thread that is made and every signal mask that is
// set from the program's first instruction on (zygote/sfork/). It takes the variable back out of
// the environment. UV_USE_IO_URING: libuv's ring would be shared with every child.
RuntimeStart StartNode(const SupervisorOptions& options) {
  const std::string folder = std::string(kHostDirectory) + "node/";
  std::vector<std::string> words = {options.interpreter};
  words.insert(words.end(), options.interpreter_options.begin(), options.interpreter_options.end());
  words.insert(words.end(), {folder + "host.js", PreloadList(options)});
  return {.arguments = std::move(words),
          .environment = {"LD_PRELOAD=" + folder + "spore_node.node", "UV_USE_IO_URING=0"}};
}

}  // namespace spore
