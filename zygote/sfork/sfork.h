// libsfork: copy a running process, with what its runtime needs to go on in the copy.
//
// Use: FrozenProcess::Freeze once, when the runtime is loaded and quiet; then Audit and Clone as
// often as wanted. Clone returns twice, like fork(2): in the parent with the child's pid, in the
// child with 0. The child calls Thaw first.
//
// The raw clone3(2) makes what fork(3) cannot: a sibling (CLONE_PARENT), in another cgroup
// (CLONE_INTO_CGROUP), with a pidfd. The price is that glibc does not know of it: Thaw repairs
// what glibc keeps of a thread's identity, and handlers of pthread_atfork(3) do not run. A runtime
// has to run its own (CPython: PyOS_BeforeFork, PyOS_AfterFork_Child).
//
// Threads: today a process with more than one thread is refused by name. The interface does not
// depend on that: Freeze will stop and note threads, Thaw will make them again.
//
// Errors are Error values before the clone; in the child, a StepResult, since nothing may be
// allocated there before Thaw has returned.
#pragma once

#include <sys/stat.h>
#include <sys/types.h>

#include <string>
#include <vector>

#include "sandbox/steps/step.h"
#include "sandbox/sys/result.h"
#include "sandbox/sys/unique_fd.h"

namespace spore {

// What a descriptor was at the freeze, to be compared before each clone.
struct DescriptorNote {
  int fd = -1;
  dev_t device = 0;
  ino_t inode = 0;
  mode_t mode = 0;
};

struct FreezeOptions {
  // Descriptors that may be open whatever they are (the control socket). Others are accepted when
  // sharing them with every child is harmless: /dev/null and its like, and regular files open for
  // reading only. Anything else fails the freeze by name.
  std::vector<int> allowed_descriptors;
};

struct CloneRequest {
  uint64_t flags = 0;              // CLONE_* namespaces, CLONE_PARENT
  int cgroup_fd = -1;              // v2 directory, or -1
  uint32_t extra_descriptors = 0;  // open beyond those noted at the freeze, known to the caller
};

class FrozenProcess {
 public:
  static Result<FrozenProcess> Freeze(const FreezeOptions& options);

  // Compares threads and descriptors with the notes. An Error names the first surprise.
  Result<> Audit(uint32_t extra_descriptors) const;

  // Audits, then clones. 0 in the child; in the parent the child's pid, and its pidfd.
  Result<pid_t> Clone(const CloneRequest& request, UniqueFd* pidfd) const;

  // In the child, before anything else.
  StepResult Thaw() const;

 private:
  std::vector<DescriptorNote> descriptors_;
  int32_t* tid_address_ = nullptr;  // glibc's own note of the main thread's id
  void* robust_list_ = nullptr;     // head of glibc's robust mutex list
  size_t robust_list_size_ = 0;
};

}  // namespace spore
