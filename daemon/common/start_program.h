// How spored starts programs of its own: with the descriptors that they are given, and nothing
// else.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "sandbox/sys/result.h"
#include "sandbox/sys/unique_fd.h"

namespace spore {

// Descriptors are borrowed; -1 stands for /dev/null.
struct StartOrder {
  std::vector<std::string> arguments;    // the program's path first
  std::vector<std::string> environment;  // all of it: "NAME=value"
  int in = -1;
  int out = -1;
  int err = -1;
  std::vector<int> passed;  // these become 3, 4 and so on
};

struct StartedProgram {
  pid_t pid = -1;  // the caller's child, to be waited for by it
  UniqueFd pidfd;
};

// posix_spawn(3): in a session and process group of its own, with no signal blocked or ignored. Any
// thread may call it.
Result<StartedProgram> StartProgram(StartOrder order);

}  // namespace spore
