// The runtimes other than Python: a function of each for Spore, and its interpreter alone.
#pragma once

#include <string>
#include <vector>

#include "tools/bench/peers.h"

namespace spore::bench {

struct Language {
  std::string runtime;
  std::string handler;
  std::string folder;  // the function's code
  Peer alone;          // starts the interpreter on a program that does nothing
};

// Those whose tools are installed; their code is written below `folder`, which must outlive the
// use. What is missing is told in `left_out`.
std::vector<Language> FindLanguages(const std::string& folder, std::vector<std::string>& left_out);

}  // namespace spore::bench
