// Descriptors beside bytes (SCM_RIGHTS, unix(7)).
#pragma once

#include <sys/socket.h>

#include <cstring>
#include <vector>

#include "tools/client/fd.h"

namespace spore::client {

constexpr std::size_t kMaxFds = 16;

// Room for kMaxFds descriptors, aligned as cmsg(3) wants it.
union ControlBuffer {
  cmsghdr align;
  char bytes[CMSG_SPACE(sizeof(int) * kMaxFds)];
};

inline int NumberOf(int fd) {
  return fd;
}
inline int NumberOf(const Fd& fd) {
  return fd.get();
}

// None, when they are more than kMaxFds.
template <typename One>
void AttachFds(msghdr& message, ControlBuffer& control, const std::vector<One>& fds) {
  if (fds.empty() || fds.size() > kMaxFds) return;
  std::memset(&control, 0, sizeof control);
  message.msg_control = control.bytes;
  message.msg_controllen = CMSG_SPACE(sizeof(int) * fds.size());
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int) * fds.size());
  for (std::size_t i = 0; i < fds.size(); ++i) {
    const int fd = NumberOf(fds[i]);
    std::memcpy(CMSG_DATA(header) + i * sizeof(int), &fd, sizeof fd);
  }
}

// Appends those that have come to a list of Fd.
template <typename Fds>
void CollectFds(msghdr& message, Fds& fds) {
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr;
       header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof fd);
      fds.emplace_back(fd);
    }
  }
}

}  // namespace spore::client
