// What the daemon knows of each language runtime. How a runtime is started is the supervisor's
// affair (zygote/supervisor/runtime.h), what it does its host's (zygote/hosts/).
#pragma once

#include <string>
#include <string_view>

namespace spore {

struct RuntimeFacts {
  std::string_view name;          // "python"
  std::string_view interpreter;   // where an image has it unless its manifest says otherwise
  std::string_view handler_form;  // what a handler looks like, for errors
  bool (*is_handler)(std::string_view handler);
  bool (*is_preload)(std::string_view module);  // a name for the manifest's preload list
  // Of the manifest's key `warm-up`; null: the runtime has no such hook.
  bool (*is_warm_up)(std::string_view function) = nullptr;
  // Its host can say what it has compiled, and take that (wire::kCompiled).
  bool keeps_compiled = false;
  bool threads_optional = false;  // an image chooses whether what it preloads may start threads
  bool library_sets = false;      // its zygote can be copied into zygotes that import more
  bool runs_archives = false;     // `run` takes a jar, not only source text
  bool runs_programs = false;     // `run` takes a program rather than a script
  bool measures_loads = false;    // its host tells what loading a function takes, for `advise`
  bool needs_loopback = false;    // its images' policy has it
  std::string_view default_handler = {};  // where a handler need not be named
  std::string_view lambda_name = {};      // what Lambda's AWS_EXECUTION_ENV calls the language
  std::string_view code_language = {};    // of the code that sessions run; empty: programs only
};

// Null when there is no such runtime.
const RuntimeFacts* FindRuntime(std::string_view name);
// "\"node\" or \"python\"", for errors.
std::string RuntimeNames();

}  // namespace spore
