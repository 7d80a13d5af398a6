#include "zygote/supervisor/runtime.h"

namespace spore {

// -I: nothing of the environment or the working directory decides what is imported; -B: no
// bytecode is written; -X utf8: as in any current Lambda runtime.
// LD_PRELOAD, for an image with threads: libsfork must see every signal mask that is set from the
// program's first instruction on (zygote/sfork/). host.py takes the variable back out. Python with
// one thread goes without, and has nothing of it to copy.
RuntimeStart StartPython(const SupervisorOptions& options) {
  const std::string folder = std::string(kHostDirectory) + "python/";
  std::vector<std::string> words = {options.interpreter, "-I", "-B", "-X", "utf8"};
  words.insert(words.end(), options.interpreter_options.begin(), options.interpreter_options.end());
  words.insert(words.end(), {folder + "host.py", PreloadList(options)});
  if (!options.warm_up.empty()) words.push_back("warm-up=" + options.warm_up);
  if (!options.threads) return {.arguments = std::move(words), .environment = {}};
  words.emplace_back("threads");
  return {.arguments = std::move(words),
          .environment = {"LD_PRELOAD=" + folder + "libspore_threads.so"}};
}

}  // namespace spore
