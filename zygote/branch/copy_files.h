// What a session has in /tmp and /dev/shm, copied into another session's.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "sandbox/sys/result.h"

namespace spore {

struct FilesOrder {
  pid_t source = 0, target = 0;      // a process of each
  uid_t owner = 0;                   // of the copies, as the host sees it
  std::vector<std::string> cgroups;  // of the target: who is charged for them
};

// By a process of its own, within the target's cgroup. Folders, files (holes and hard links too),
// symbolic links and fifos, with mode and times; not sockets, whose other end would be elsewhere.
// Names are the tenant's: each is looked up in a folder that is held open, and never followed.
Result<> CopyFiles(const FilesOrder& order);

}  // namespace spore
