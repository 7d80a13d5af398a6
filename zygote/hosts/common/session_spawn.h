// Executes a program in a session.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "zygote/session_protocol.h"

namespace spore {

struct SpawnOrder {
  std::vector<std::string> arguments;  // the first: a path, or a name to look up in PATH
  std::vector<std::string> variables;  // NAME=VALUE, of this program; later ones win
  std::string directory;               // empty: /tmp
  int streams[3] = {-1, -1, -1};       // borrowed
  bool terminal = false;               // streams[0] becomes the controlling terminal
};

struct Spawned {
  pid_t pid = 0;    // also its session and process group; 0: it could not be started, and
  int status = 0;   // what a shell would say: 125, 126 or 127
  std::string why;  // in words
};
Spawned Spawn(const SpawnOrder& order);

// What is left of the host's own affairs is taken out of the environment, and these put in.
void PrepareEnvironment(const std::vector<std::string>& variables);

}  // namespace spore
