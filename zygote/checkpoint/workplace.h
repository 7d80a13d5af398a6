// What CRIU works with, within a mount namespace of an image or a sandbox.
#pragma once

#include <sys/types.h>

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
  // The file systems that no tenant may have anything of: of the files, and of the whole /proc.
  const std::vector<dev_t>& devices() const { return devices_; }

 private:
  Workplace() = default;
  Result<> Attach(int mount, const char* place);
  std::vector<const char*> attached_;
  std::vector<dev_t> devices_;
  bool loopback_ = false;  // it was down
};

}  // namespace spore
