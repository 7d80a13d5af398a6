#include "zygote/checkpoint/dump_notifier.h"

#include <fcntl.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>

#include "sandbox/sys/step_log.h"

namespace spore {
namespace {

constexpr uint64_t kMillisecond = 1'000'000;

// The kernel's may be longer than that of our headers.
union Received {
  seccomp_notif notification;
  char room[512];
};

// CRIU's child that has been killed, or a signal that has come: nobody waits for the answer.
bool IsGone() {
  return errno == ENOENT || errno == EINTR || errno == EINPROGRESS;
}

}  // namespace

// `in_its_place`: 0 in place of what the call would have done.
Result<> DumpNotifier::Answer(uint64_t id, bool in_its_place) const {
  seccomp_notif_resp response{};
  response.id = id;
  if (!in_its_place) response.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
  if (ioctl(parts_.listener.get(), SECCOMP_IOCTL_NOTIF_SEND, &response) < 0 && !IsGone())
    return SysError("answer a call of CRIU's");
  return {};
}

Result<> DumpNotifier::GiveSocket(uint64_t id) const {
  seccomp_notif_addfd given{};
  given.id = id;
  given.flags = SECCOMP_ADDFD_FLAG_SEND;
  given.srcfd = static_cast<uint32_t>(parts_.transport);
  given.newfd_flags = O_CLOEXEC;
  if (ioctl(parts_.listener.get(), SECCOMP_IOCTL_NOTIF_ADDFD, &given) < 0 && !IsGone())
    return SysError("give CRIU a socket");
  return {};
}

// Since 6.16 only sockets that can carry descriptors have SO_PASSCRED and SO_PASSSEC; CRIU before
// that asks all of them and gives up. `value`: where it wants it.
Result<> DumpNotifier::GiveOption(uint64_t id, int fd, uint64_t value) const {
  const UniqueFd copy(static_cast<int>(syscall(SYS_pidfd_getfd, parts_.criu_pidfd, fd, 0)));
  int family = AF_UNIX;
  socklen_t length = sizeof family;
  if (copy) (void)getsockopt(copy.get(), SOL_SOCKET, SO_DOMAIN, &family, &length);
  if (family != AF_INET && family != AF_INET6) return Answer(id, /*in_its_place=*/false);
  int none = 0;
  iovec own{&none, sizeof none}, theirs{reinterpret_cast<void*>(value), sizeof none};
  if (process_vm_writev(parts_.criu, &own, 1, &theirs, 1, 0) != sizeof none)
    return Answer(id, /*in_its_place=*/false);
  return Answer(id, /*in_its_place=*/true);
}

Result<> DumpNotifier::AnswerTrace(uint64_t id, uint64_t request, pid_t tid) {
  // A child of its own.
  if (held_.count(tid) == 0) return Answer(id, /*in_its_place=*/false);
  switch (request) {
    case PTRACE_SEIZE:
      return Answer(id, /*in_its_place=*/true);
    case PTRACE_INTERRUPT:
      // The first has been done, and its stop waits for CRIU.
      return Answer(id, interrupted_.insert(tid).second);
    default:  // PTRACE_DETACH
      // Whatever is let go stands still until nothing of CRIU's is left.
      SPORE_TRY(parts_.cgroup.BeginToFreeze());
      return Answer(id, /*in_its_place=*/false);
  }
}

// True: it will exit.
Result<bool> DumpNotifier::ServeOne() {
  Received received{};
  if (ioctl(parts_.listener.get(), SECCOMP_IOCTL_NOTIF_RECV, &received) < 0) {
    if (IsGone()) return false;
    return SysError("receive a call of CRIU's");
  }
  const seccomp_notif& call = received.notification;
  const bool by_criu = static_cast<pid_t>(call.pid) == parts_.criu;
  switch (call.data.nr) {
    case SYS_ptrace:
      SPORE_TRY(AnswerTrace(call.id, call.data.args[0], static_cast<pid_t>(call.data.args[1])));
      return false;
    case SYS_socket:
      SPORE_TRY(by_criu ? GiveSocket(call.id) : Answer(call.id, /*in_its_place=*/false));
      return false;
    case SYS_getsockopt: {
      const int fd = static_cast<int>(call.data.args[0]);
      SPORE_TRY(by_criu ? GiveOption(call.id, fd, call.data.args[3])
                        : Answer(call.id, /*in_its_place=*/false));
      return false;
    }
    case SYS_exit_group:
      if (by_criu) {
        exit_code_ = static_cast<int>(call.data.args[0]);
        return true;
      }
      [[fallthrough]];
    default:
      SPORE_TRY(Answer(call.id, /*in_its_place=*/false));
      return false;
  }
}

Result<CriuEnd> DumpNotifier::Serve(std::chrono::milliseconds limit) {
  const uint64_t until = StepLog::Now() + static_cast<uint64_t>(limit.count()) * kMillisecond;
  for (;;) {
    const uint64_t now = StepLog::Now();
    if (now >= until) return CriuEnd::kLate;
    pollfd waited[] = {{parts_.listener.get(), POLLIN, 0}, {parts_.criu_pidfd, POLLIN, 0}};
    if (poll(waited, 2, static_cast<int>((until - now) / kMillisecond) + 1) < 0 && errno != EINTR)
      return SysError("wait for CRIU");
    if (waited[1].revents != 0) return CriuEnd::kDied;
    if ((waited[0].revents & POLLIN) == 0) continue;
    SPORE_ASSIGN(const bool will_exit, ServeOne());
    if (will_exit) return CriuEnd::kWillExit;
  }
}

}  // namespace spore
