// Open descriptors, from a stopped process to its copy. No open file description is shared: files
// are opened again by name, by the copy and with its own rights; pipes, socket pairs, eventfds,
// timers and epoll sets whose every end is the process's own are made anew with what is in them
// (zygote/sfork/descriptor_table.h); what leads out of it refuses the branch.
#pragma once

#include <sys/types.h>

#include <map>
#include <string>
#include <vector>

#include "zygote/branch/workbench.h"

namespace spore {

struct OpenDescriptor {
  int number = -1;
  bool close_on_exec = false;
  std::string link;  // as /proc has it
  int flags = 0;     // F_GETFL
  int64_t position = 0;
  // By which it comes to the copy.
  enum class Way { kGiven, kPath, kUnnamed, kMade, kSame } way = Way::kPath;
  int same_as = -1;  // kGiven: the copy's own descriptor; kSame: the number of one before
};

// Those of `pid`, ascending. Of kGiven are its channel and what it writes, whose other ends `agent`
// has: the copy has others in their place. kPrecondition: one has no way, which the error names.
Result<std::vector<OpenDescriptor>> NoteDescriptors(pid_t pid, pid_t agent);

struct CopyTarget {
  Workbench* bench = nullptr;
  int pidfd = -1;
  const std::vector<std::string>* cgroups = nullptr;
};
// Into each of the targets, which have their own 0 to 3. `source_pidfd` is of the source.
Result<> CopyDescriptors(pid_t source, int source_pidfd,
                         const std::vector<OpenDescriptor>& descriptors,
                         const std::vector<CopyTarget>& targets);

// ---- between its parts ----
// Makes those of kMade in a process of its own and sends them to the targets' sockets, one each, in
// the order of `descriptors`.
Result<> MakeDescriptors(int source_pidfd, const std::vector<OpenDescriptor>& descriptors,
                         const std::vector<CopyTarget>& targets, const std::vector<int>& sockets);

}  // namespace spore
