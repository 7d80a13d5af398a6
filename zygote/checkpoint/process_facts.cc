#include "zygote/checkpoint/process_facts.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <fstream>

#include "zygote/branch/thread_state.h"

namespace spore {

bool HasEnded(pid_t tid) {
  const std::string state = StatusLine(tid, "State");
  return state.empty() || state.front() == 'Z' || state.front() == 'X';
}

Result<bool> HasOwnTable(pid_t pid, pid_t tid) {
  constexpr int kFiles = 2;  // KCMP_FILES of linux/kcmp.h
  const long differs = syscall(SYS_kcmp, pid, tid, kFiles, 0, 0);
  if (differs < 0) return SysError("kcmp", {}, "the kernel needs CONFIG_KCMP");
  return differs != 0;
}

bool HasDescriptorsInFlight(const std::string& fdinfo) {
  constexpr std::string_view kName = "scm_fds:";
  std::ifstream info(fdinfo);
  for (std::string line; std::getline(info, line);) {
    if (line.starts_with(kName) && line.find_first_not_of("0 \t", kName.size()) != line.npos)
      return true;
  }
  return false;
}

}  // namespace spore
