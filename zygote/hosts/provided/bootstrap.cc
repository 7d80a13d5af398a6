#include "zygote/hosts/provided/bootstrap.h"

#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

#include "zygote/hosts/common/program_check.h"

namespace spore {
namespace {

const std::string& Path() {
  static const std::string path = std::string(kTaskRoot) + "/bootstrap";
  return path;
}

// Default signal state: this process may have inherited another.
int Spawn(pid_t* pid) {
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &all);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  std::string name = Path();
  char* argv[] = {name.data(), nullptr};
  const int error = posix_spawn(pid, Path().c_str(), nullptr, &attributes, argv, environ);
  posix_spawnattr_destroy(&attributes);
  return error;
}

}  // namespace

std::string Bootstrap::Start() {
  if (const auto problem = CheckProgram(Path())) {
    if (problem->missing)
      return "the archive has no file \"bootstrap\" in its root: an executable file of that name "
             "is "
             "what runtime provided starts";
    return Path() + ": " + problem->text;
  }
  if (const int error = Spawn(&pid_); error != 0)
    return Path() + ": " + DescribeExecFailure(Path(), error);
  pidfd_ = UniqueFd(static_cast<int>(syscall(SYS_pidfd_open, pid_, 0)));
  return pidfd_ ? "" : Path() + ": its process cannot be watched";
}

bool Bootstrap::HasEnded() const {
  pollfd end{pidfd_.get(), POLLIN, 0};
  return poll(&end, 1, 0) > 0;
}

void Bootstrap::EndAlike() const {
  siginfo_t info{};
  if (TEMP_FAILURE_RETRY(waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED)) < 0) _exit(1);
  if (info.si_code == CLD_EXITED) _exit(info.si_status);
  ::signal(info.si_status, SIG_DFL);
  sigset_t one;
  sigemptyset(&one);
  sigaddset(&one, info.si_status);
  sigprocmask(SIG_UNBLOCK, &one, nullptr);
  kill(getpid(), info.si_status);
  // A signal that does not end a process here.
  _exit(128 + info.si_status);
}

}  // namespace spore
