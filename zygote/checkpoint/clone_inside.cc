#include "zygote/checkpoint/clone_inside.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <string>

#include "sandbox/sys/clone.h"
#include "zygote/branch/worker_process.h"

namespace spore {

Result<pid_t> CloneInside(int session, UniqueFd* pidfd) {
  const UniqueFd own(open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC));
  if (!own) return SysError("open /proc/self/ns/pid");
  const UniqueFd parent(static_cast<int>(syscall(SYS_pidfd_open, getpid(), 0)));
  if (!parent) return SysError("pidfd_open");
  if (setns(session, CLONE_NEWPID) < 0) return SysError("setns to a session's pid namespace");
  const pid_t pid = CloneProcess({.exit_signal = SIGCHLD}, pidfd);
  if (pid == 0) {
    pollfd ended{parent.get(), POLLIN, 0};
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || poll(&ended, 1, 0) != 0) _exit(1);
    return 0;
  }
  const int error = pid < 0 ? errno : 0;
  // Else the next child would be in there as well.
  if (setns(own.get(), CLONE_NEWPID) < 0) {
    if (pid > 0) kill(pid, SIGKILL);
    return SysError("setns back to the own pid namespace");
  }
  if (error != 0) return SysErrorOf(error, "clone into a session's pid namespace");
  return pid;
}

namespace {

// Clocks of its own: those of a session that was restored where the host's are behind.
Result<> JoinClocks(int session) {
  const auto clocks = [](const std::string& who) {
    struct stat status {};
    return stat(("/proc/" + who + "/ns/time").c_str(), &status) < 0 ? ino_t{0} : status.st_ino;
  };
  if (clocks(std::to_string(PidBehind(session))) == clocks("self")) return {};
  if (setns(session, CLONE_NEWTIME) < 0) return SysError("setns to a session's time namespace");
  return {};
}

}  // namespace

Result<> JoinSession(int session) {
  SPORE_TRY(JoinClocks(session));
  constexpr int kAll = CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNET | CLONE_NEWCGROUP | CLONE_NEWNS;
  if (setns(session, kAll) < 0) return SysError("setns to a session's namespaces");
  return {};
}

}  // namespace spore
