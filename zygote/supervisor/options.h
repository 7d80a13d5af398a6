// The command line of spore-zygote, which only spored calls.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "sandbox/sys/result.h"

namespace spore {

struct SupervisorOptions {
  std::string image;
  std::string runtime;      // "python", "node", ...: zygote/supervisor/runtime.h
  std::string interpreter;  // path inside the image
  uid_t uid_base = 0;       // host uid that is 0 in the image's user namespace
  uid_t uid_count = 0;
  int supervisor_fd = -1;  // SOCK_SEQPACKET to spored
  int zygote_fd = -1;      // SOCK_SEQPACKET to spored, handed on to the zygote
  std::vector<std::string> preload;
  bool threads = false;                          // what is preloaded may start threads
  std::vector<std::string> interpreter_options;  // words for its command line, from the manifest
  std::vector<std::string> environment;          // K=V
  std::string host_dir;                          // the language hosts' files
  std::string root;                              // the image's own tree; empty: the host's /usr
  std::string warm_up;     // called by the runtime's host when all is preloaded; may be empty
  std::string checkpoint;  // "dump", "restore", or nothing: zygote/supervisor/checkpoint.h
};

Result<SupervisorOptions> ParseSupervisorOptions(int argc, char** argv);

}  // namespace spore
