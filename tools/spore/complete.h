// What may follow on a command line that is being typed: for the shells' completion
// (config/completions), which ask with `spore __complete WORD...`.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "tools/spore/context.h"

namespace spore::cli {

struct Candidate {
  std::string word;
  std::string description;
};

// What a shell shall offer.
struct Completion {
  std::vector<Candidate> candidates;  // those that begin with what is typed
  bool files = false;                 // names of files, too
};

// `words`: all after "spore", the last one being typed and maybe empty. Names of functions, images
// and so on are asked of the daemon; when it does not answer there are none.
Completion Complete(const CLI::App& root, const Context& context,
                    const std::vector<std::string>& words);

// One candidate a line, a tab before its description, then ":files" or ":words".
void PrintCompletion(const Completion& completion);

}  // namespace spore::cli
