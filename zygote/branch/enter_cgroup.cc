#include "zygote/branch/enter_cgroup.h"

#include <fcntl.h>
#include <unistd.h>

#include "sandbox/sys/unique_fd.h"

namespace spore {

Result<> EnterCgroups(const std::vector<std::string>& paths) {
  for (const std::string& path : paths) {
    // v1's `tasks` moves one thread, without a lock of the whole kernel; v2 has no such file.
    bool entered = false;
    for (const char* name : {"/tasks", "/cgroup.procs"}) {
      const UniqueFd file(open((path + name).c_str(), O_WRONLY | O_CLOEXEC));
      entered = file && write(file.get(), "0", 1) == 1;
      if (entered) break;
    }
    if (!entered) return SysError("enter cgroup", path);
  }
  return {};
}

}  // namespace spore
