#include "zygote/supervisor/runtime.h"

namespace spore {

// -I: nothing of the environment or the working directory decides what is imported; -B: no
// bytecode is written; -X utf8: as in any current Lambda runtime.
// LD_PRELOAD: libsfork must see what is done to memory that it moves, and in an image with threads
// every signal mask that is set from the program's first instruction on (zygote/sfork/). host.py
// takes the variable back out.
RuntimeStart StartPython(const SupervisorOptions& options) {
  const std::string folder = std::string(kHostDirectory) + "python/";
  std::vector<std::string> words = {options.interpreter, "-I", "-B", "-X", "utf8"};
  words.insert(words.end(), options.interpreter_options.begin(), options.interpreter_options.end());
  words.insert(words.end(), {folder + "host.py", PreloadList(options)});
  if (!options.warm_up.empty()) words.push_back("warm-up=" + options.warm_up);
  if (options.threads) words.emplace_back("threads");
  const char* const library = options.threads ? "libspore_threads.so" : "libspore_memory.so";
  return {.arguments = std::move(words), .environment = {"LD_PRELOAD=" + folder + library}};
}

}  // namespace spore
