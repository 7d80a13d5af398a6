#include "daemon/sessions/agent_door.h"

#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace spore {
namespace {

tl::unexpected<Error> NoDoor() {
  return MakeError(ErrorKind::kPrecondition, "the session's agent does not wait for a channel",
                   "what runs in the session has changed it");
}

}  // namespace

Result<UniqueFd> FetchDoor(const UniqueFd& agent, int32_t descriptor) {
  UniqueFd door(static_cast<int>(syscall(SYS_pidfd_getfd, agent.get(), descriptor, 0)));
  if (!door && errno != EBADF) return SysError("pidfd_getfd of a session's agent");
  if (!door) return NoDoor();
  SPORE_TRY(CheckDoor(door));
  return door;
}

Result<> CheckDoor(const UniqueFd& door) {
  const auto option = [&](int name) {
    int value = -1;
    socklen_t size = sizeof value;
    return getsockopt(door.get(), SOL_SOCKET, name, &value, &size) == 0 ? value : -1;
  };
  if (option(SO_DOMAIN) != AF_UNIX || option(SO_TYPE) != SOCK_STREAM) return NoDoor();
  return {};
}

Result<> SendThroughDoor(const UniqueFd& door, const std::string& frame, int fd) {
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof fd)] = {};
  iovec part{const_cast<char*>(frame.data()), frame.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  cmsghdr* item = CMSG_FIRSTHDR(&message);
  item->cmsg_level = SOL_SOCKET;
  item->cmsg_type = SCM_RIGHTS;
  item->cmsg_len = CMSG_LEN(sizeof fd);
  memcpy(CMSG_DATA(item), &fd, sizeof fd);
  const ssize_t sent =
      TEMP_FAILURE_RETRY(sendmsg(door.get(), &message, MSG_DONTWAIT | MSG_NOSIGNAL));
  if (sent == static_cast<ssize_t>(frame.size())) return {};
  if (sent < 0 && errno != EAGAIN && errno != EPIPE && errno != ENOTCONN)
    return SysError("send a channel to a session's agent");
  return NoDoor();
}

}  // namespace spore
