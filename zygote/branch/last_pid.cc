#include "zygote/branch/last_pid.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "sandbox/sys/clone.h"
#include "sandbox/sys/unique_fd.h"

namespace spore {
namespace {

// pid_namespaces(7): the file is about the namespace of who writes it.
int Write(int file, pid_t last) {
  const std::string text = std::to_string(last);
  return write(file, text.data(), text.size()) < 0 ? errno : 0;
}

}  // namespace

Result<> ChooseNextPid(int pidfd, pid_t next) {
  const UniqueFd file(open("/proc/sys/kernel/ns_last_pid", O_WRONLY | O_CLOEXEC));
  if (!file) {
    return SysError("open", "/proc/sys/kernel/ns_last_pid",
                    "the kernel needs CONFIG_CHECKPOINT_RESTORE");
  }
  const UniqueFd own(open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC));
  if (!own) return SysError("open /proc/self/ns/pid");
  if (setns(pidfd, CLONE_NEWPID) < 0) return SysError("setns to a session's pid namespace");
  const pid_t pid = CloneProcess({.exit_signal = SIGCHLD}, nullptr);
  if (pid == 0) _exit(Write(file.get(), next - 1));
  const int error = pid < 0 ? errno : 0;
  if (setns(own.get(), CLONE_NEWPID) < 0) return SysError("setns back to the own pid namespace");
  if (error != 0) return SysErrorOf(error, "clone into a session's pid namespace");
  int status = 0;
  if (TEMP_FAILURE_RETRY(waitpid(pid, &status, 0)) < 0) return SysError("wait for a process");
  if (!WIFEXITED(status)) return MakeError(ErrorKind::kInternal, "a process was ended");
  if (WEXITSTATUS(status) != 0)
    return SysErrorOf(WEXITSTATUS(status), "choose the next pid of a session");
  return {};
}

}  // namespace spore
