#include "zygote/hosts/common/channel.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <utility>

#include "zygote/hosts/common/confine.h"

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

std::optional<HostFrame> ReadFrame(int fd) {
  if (fd == kInstanceFd) SendQueuedBeforeWaiting();
  wire::FrameHeader header{};
  if (!ReadExactly(fd, &header, sizeof header)) return std::nullopt;
  if (header.length > wire::kMaxFrame) return std::nullopt;
  HostFrame frame{header.type, header.id, std::string(header.length, '\0')};
  if (!ReadExactly(fd, frame.body.data(), header.length)) return std::nullopt;
  return frame;
}

bool CutInvocation(std::string_view body, InvocationParts& parts) {
  uint32_t meta_bytes = 0;
  if (body.size() < sizeof meta_bytes) return false;
  memcpy(&meta_bytes, body.data(), sizeof meta_bytes);
  body.remove_prefix(sizeof meta_bytes);
  if (meta_bytes > body.size()) return false;
  parts = {body.substr(0, meta_bytes), body.substr(meta_bytes)};
  return true;
}

namespace {

// Whole frames. In fixed space, so that it can be written to ahead (see TouchChannel).
char queued[8192];
size_t queued_bytes = 0;

// Changes the parts.
bool SendAll(int fd, iovec* parts, size_t count) {
  msghdr message{};
  message.msg_iov = parts;
  message.msg_iovlen = count;
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

}  // namespace

void TouchChannel() {
  for (size_t at = 0; at < sizeof queued; at += 4096) static_cast<volatile char*>(queued)[at] = 0;
}

void DropQueued() {
  queued_bytes = 0;
}

bool QueueFrame(int fd, wire::FrameType type, uint64_t id, const void* body, size_t bytes) {
  const wire::FrameHeader header{type, static_cast<uint32_t>(bytes), id};
  if (sizeof header + bytes > sizeof queued - queued_bytes)
    return WriteFrame(fd, type, id, body, bytes);
  memcpy(queued + queued_bytes, &header, sizeof header);
  memcpy(queued + queued_bytes + sizeof header, body, bytes);
  queued_bytes += sizeof header + bytes;
  return true;
}

void QueueLoaded(uint64_t began_ns, std::string_view imported) {
  char times[96];
  const int length =
      snprintf(times, sizeof times, "{\"began_us\":%" PRIu64 ",\"ended_us\":%" PRIu64 "}",
               began_ns / 1000, StepLog::Now() / 1000);
  std::string_view body(times, static_cast<size_t>(length));
  std::string with_imported;
  if (!imported.empty()) {
    with_imported = body.substr(0, body.size() - 1);
    with_imported.append(",\"imported\":").append(imported) += '}';
    body = with_imported;
  }
  // When spored is gone the answer will tell.
  (void)QueueFrame(kInstanceFd, wire::FrameType::kLoaded, 0, body.data(), body.size());
}

void SendQueuedBeforeWaiting() {
  if (queued_bytes == 0) return;
  pollfd channel{kInstanceFd, POLLIN, 0};
  if (poll(&channel, 1, 0) != 0) return;
  iovec part{queued, std::exchange(queued_bytes, 0)};
  // When spored is gone the next read will tell.
  (void)SendAll(kInstanceFd, &part, 1);
}

bool WriteFrame(int fd, wire::FrameType type, uint64_t id, const void* body, size_t bytes) {
  wire::FrameHeader header{type, static_cast<uint32_t>(bytes), id};
  iovec parts[3] = {{queued, std::exchange(queued_bytes, 0)},
                    {&header, sizeof header},
                    {const_cast<void*>(body), bytes}};
  return SendAll(fd, parts, std::size(parts));
}

}  // namespace spore
