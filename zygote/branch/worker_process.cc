#include "zygote/branch/worker_process.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <string>

#include "sandbox/sys/fault_point.h"

namespace spore {
namespace {

constexpr int kFirstFd = 3;

void AllowManyFiles() {
  constexpr rlim_t kManyFiles = 1u << 20;
  rlimit limit{kManyFiles, kManyFiles};
  if (setrlimit(RLIMIT_NOFILE, &limit) == 0 || getrlimit(RLIMIT_NOFILE, &limit) < 0) return;
  limit.rlim_cur = limit.rlim_max;
  (void)setrlimit(RLIMIT_NOFILE, &limit);
}

}  // namespace

Result<> BeginWorker(const char* name, int last_fd) {
  (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
  (void)prctl(PR_SET_NAME, name);
  umask(0077);
  AllowManyFiles();
  for (int fd = kFirstFd; fd <= last_fd; ++fd)
    if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0) return SysError("use a descriptor from spored");
  const char* fault = std::getenv("SPORE_FAULT");
  return ArmFaultPoint(fault == nullptr ? "" : fault);
}

pid_t PidBehind(int pidfd) {
  std::ifstream info("/proc/self/fdinfo/" + std::to_string(pidfd));
  for (std::string line; std::getline(info, line);) {
    if (!line.starts_with("Pid:")) continue;
    return static_cast<pid_t>(std::max(0L, strtol(line.c_str() + 4, nullptr, 10)));
  }
  return 0;
}

}  // namespace spore
