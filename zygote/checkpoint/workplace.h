// What CRIU works with, within a mount namespace of an image or a sandbox.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <vector>

#include "sandbox/sys/result.h"

namespace spore {

struct WorkplaceParts {
  int files = -1;  // a detached mount: goes to kCheckpointPlace (sandbox/root_fs.h)
  int criu = -1;   // another one, the /usr that CRIU lies in: to kCriuPlace
  // On top of a sandbox's own /proc, a whole one of the caller's pid namespace: CRIU looks at more
  // than processes. The caller must be root of the host.
  bool whole_proc = false;
};

// Of which no tenant may have anything.
struct ForbiddenMount {
  uint64_t number = 0;  // of this mount (statx(2), STATX_MNT_ID)
  dev_t device = 0;     // of its file system, wherever it is mounted; 0: images may lie in the same
};

// Attached for as long as this lives, in the caller's mount namespace. The network namespace's
// loopback, which CRIU's look at the kernel needs, is up as long. Nothing of a tenant may run
// meanwhile.
class Workplace {
 public:
  static Result<Workplace> Open(const WorkplaceParts& parts);
  ~Workplace();
  Workplace(Workplace&& other) noexcept;
  Workplace& operator=(Workplace&&) = delete;

  // Before a tenant goes on: an error says what of it is left.
  Result<> Remove();
  // All that has been attached.
  const std::vector<ForbiddenMount>& mounts() const { return mounts_; }

 private:
  Workplace() = default;
  Result<> Attach(int mount, const char* place, bool whole_device);
  std::vector<const char*> attached_;
  std::vector<ForbiddenMount> mounts_;
  bool loopback_ = false;  // it was down
};

}  // namespace spore
