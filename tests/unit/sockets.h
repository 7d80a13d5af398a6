// Sockets that several tests make in the same way.
#pragma once

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <string>
#include <vector>

#include "sandbox/sys/unique_fd.h"

namespace spore {

inline std::array<UniqueFd, 2> StreamPair() {
  int fds[2];
  EXPECT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds));
  return {UniqueFd(fds[0]), UniqueFd(fds[1])};
}

// sendmsg(2) of one message with descriptors, which stay the caller's.
inline ssize_t SendWithFds(int socket, const std::string& text, const std::vector<int>& fds) {
  iovec vector{const_cast<char*>(text.data()), text.size()};
  std::vector<char> control(CMSG_SPACE(fds.size() * sizeof(int)));
  msghdr header{};
  header.msg_iov = &vector;
  header.msg_iovlen = 1;
  if (!fds.empty()) {
    header.msg_control = control.data();
    header.msg_controllen = control.size();
    cmsghdr* message = CMSG_FIRSTHDR(&header);
    message->cmsg_level = SOL_SOCKET;
    message->cmsg_type = SCM_RIGHTS;
    message->cmsg_len = CMSG_LEN(fds.size() * sizeof(int));
    std::memcpy(CMSG_DATA(message), fds.data(), fds.size() * sizeof(int));
  }
  return sendmsg(socket, &header, MSG_NOSIGNAL);
}

// A listening socket with an abstract name that the kernel chooses (unix(7), autobind).
struct Listener {
  UniqueFd fd;
  sockaddr_un address{};
  socklen_t length = 0;
};
inline Listener Listen() {
  Listener made;
  made.fd.Reset(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  made.address.sun_family = AF_UNIX;
  auto* address = reinterpret_cast<sockaddr*>(&made.address);
  EXPECT_EQ(0, bind(made.fd.get(), address, sizeof(sa_family_t)));
  made.length = sizeof made.address;
  EXPECT_EQ(0, getsockname(made.fd.get(), address, &made.length));
  EXPECT_EQ(0, listen(made.fd.get(), 64));
  return made;
}

}  // namespace spore
