#include "zygote/hosts/common/channel.h"

#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>

namespace spore {

bool ReadExactly(int fd, void* buffer, size_t bytes) {
  auto* at = static_cast<char*>(buffer);
  while (bytes > 0) {
    const ssize_t got = read(fd, at, bytes);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    at += got;
    bytes -= static_cast<size_t>(got);
  }
  return true;
}

namespace {

std::string queued;  // whole frames

}  // namespace

void QueueFrame(wire::FrameType type, uint64_t id, const void* body, size_t bytes) {
  const wire::FrameHeader header{type, static_cast<uint32_t>(bytes), id};
  queued.append(reinterpret_cast<const char*>(&header), sizeof header);
  queued.append(static_cast<const char*>(body), bytes);
}

bool WriteFrame(int fd, wire::FrameType type, uint64_t id, const void* body, size_t bytes) {
  wire::FrameHeader header{type, static_cast<uint32_t>(bytes), id};
  const std::string before = std::move(queued);
  queued.clear();
  iovec parts[3] = {{const_cast<char*>(before.data()), before.size()},
                    {&header, sizeof header},
                    {const_cast<void*>(body), bytes}};
  msghdr message{};
  message.msg_iov = parts;
  message.msg_iovlen = 3;
  while (message.msg_iovlen > 0) {
    ssize_t sent = sendmsg(fd, &message, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) return false;
    while (message.msg_iovlen > 0 && static_cast<size_t>(sent) >= message.msg_iov->iov_len) {
      sent -= static_cast<ssize_t>(message.msg_iov->iov_len);
      ++message.msg_iov;
      --message.msg_iovlen;
    }
    if (message.msg_iovlen > 0) {
      message.msg_iov->iov_base = static_cast<char*>(message.msg_iov->iov_base) + sent;
      message.msg_iov->iov_len -= static_cast<size_t>(sent);
    }
  }
  return true;
}

}  // namespace spore
