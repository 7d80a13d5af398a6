#include "daemon/common/pidfd.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <string_view>

namespace spore {

namespace {

// The last number of a line of what is known of the descriptor (proc(5), fdinfo); 0: none.
pid_t LastNumber(const UniqueFd& pidfd, std::string_view name) {
  if (!pidfd) return 0;
  std::ifstream info("/proc/self/fdinfo/" + std::to_string(pidfd.get()));
  for (std::string line; std::getline(info, line);) {
    if (!line.starts_with(name)) continue;
    pid_t pid = 0;  // -1 of a process that was waited for becomes 0
    const size_t digits = std::min(line.find_last_of("\t ") + 1, line.size());
    std::from_chars(line.data() + digits, line.data() + line.size(), pid);
    return std::max(0, pid);
  }
  return 0;
}

}  // namespace

pid_t PidOf(const UniqueFd& pidfd) {
  return LastNumber(pidfd, "Pid:");
}

pid_t NumberInside(const UniqueFd& pidfd) {
  return LastNumber(pidfd, "NSpid:");
}

UniqueFd OpenPidfd(pid_t pid, const std::string& group) {
  UniqueFd pidfd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  if (!pidfd) return {};
  // Read while the pidfd keeps the pid from being given to anybody else.
  std::ifstream cgroups("/proc/" + std::to_string(pid) + "/cgroup");
  for (std::string line; std::getline(cgroups, line);) {
    if (line.ends_with("/" + group)) return pidfd;
  }
  return {};
}

}  // namespace spore
