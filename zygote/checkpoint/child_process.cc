#include "zygote/checkpoint/child_process.h"

#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "sandbox/sys/step_log.h"

namespace spore {
namespace {

constexpr useconds_t kLookUs = 100;

}  // namespace

Result<ChildProcess> ChildProcess::Start(std::string name,
                                         const std::function<Result<pid_t>()>& clone,
                                         const std::function<int(int socket)>& live) {
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
    return SysError("socketpair");
  ChildProcess child(std::move(name));
  child.socket_.Reset(pair[0]);
  const UniqueFd theirs(pair[1]);
  SPORE_ASSIGN(child.pid_, clone());
  if (child.pid_ == 0) {
    child.socket_.Reset();
    _exit(live(theirs.get()));
  }
  return child;
}

ChildProcess::ChildProcess(ChildProcess&& other) noexcept
    : name_(std::move(other.name_)),
      socket_(std::move(other.socket_)),
      pid_(std::exchange(other.pid_, 0)) {}

bool ChildProcess::Say(char word) const {
  return send(socket(), &word, 1, MSG_NOSIGNAL) == 1;
}

tl::unexpected<Error> ChildProcess::HasEnded() const {
  return MakeError(ErrorKind::kUnavailable, name_ + " has ended");
}

Result<int> ChildProcess::Wait() {
  int status = 0;
  if (TEMP_FAILURE_RETRY(waitpid(std::exchange(pid_, 0), &status, 0)) < 0)
    return SysError("wait for " + name_);
  return status;
}

bool ChildProcess::WaitFor(uint64_t limit_ns) {
  const uint64_t until = StepLog::Now() + limit_ns;
  while (pid_ != 0 && StepLog::Now() < until) {
    const pid_t ended = waitpid(pid_, nullptr, WNOHANG);
    if (ended == pid_ || (ended < 0 && errno != EINTR)) {
      pid_ = 0;
      return true;
    }
    usleep(kLookUs);
  }
  return pid_ == 0;
}

void ChildProcess::Kill() {
  if (pid_ == 0) return;
  kill(pid_, SIGKILL);  // not yet reaped, so the number is still its own
  int status = 0;
  while (TEMP_FAILURE_RETRY(waitpid(pid_, &status, __WALL)) == pid_ && WIFSTOPPED(status)) {
  }
  pid_ = 0;
}

char AwaitWord(int socket) {
  char word = 0;
  return TEMP_FAILURE_RETRY(recv(socket, &word, 1, 0)) == 1 ? word : '\0';
}

}  // namespace spore
