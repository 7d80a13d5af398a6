#include "daemon/loop/packet_channel.h"

#include <fcntl.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>

#include "sandbox/sys/fd_message.h"

namespace spore {
namespace {

constexpr size_t kMaxMessage = 8192;
constexpr int kSocketBuffer = 1 << 20;
constexpr auto kRetryDelay = std::chrono::milliseconds(1);

// Sends one message. False: the socket is full.
Result<bool> SendNow(int socket, std::span<const std::byte> message, std::span<const int> fds) {
  auto sent = SendMessage(socket, message, fds);
  if (sent) return true;
  if (sent.error().errno_value == EAGAIN || sent.error().errno_value == ENOBUFS) return false;
  return tl::unexpected(std::move(sent).error());
}

// Takes descriptors and the sender's pid out of the control data.
void ReadControl(msghdr& header, Packet& packet) {
  for (cmsghdr* item = CMSG_FIRSTHDR(&header); item != nullptr; item = CMSG_NXTHDR(&header, item)) {
    if (item->cmsg_level != SOL_SOCKET) continue;
    if (item->cmsg_type == SCM_RIGHTS) {
      const size_t count = (item->cmsg_len - CMSG_LEN(0)) / sizeof(int);
      for (size_t i = 0; i < count; ++i) {
        int fd;
        memcpy(&fd, CMSG_DATA(item) + i * sizeof(int), sizeof fd);
        packet.fds.emplace_back(fd);
      }
    } else if (item->cmsg_type == SCM_CREDENTIALS) {
      ucred credentials;
      memcpy(&credentials, CMSG_DATA(item), sizeof credentials);
      packet.sender = credentials.pid;
    }
  }
}

}  // namespace

Result<SocketPair> MakePacketPair() {
  int fds[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) != 0) {
    return SysError("make a socket pair");
  }
  SocketPair pair{UniqueFd(fds[0]), UniqueFd(fds[1])};
  for (const int fd : fds) {
    // The FORCE variants exceed wmem_max; without the privilege the default size serves as well.
    setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &kSocketBuffer, sizeof kSocketBuffer);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &kSocketBuffer, sizeof kSocketBuffer);
  }
  const int on = 1;
  if (setsockopt(fds[0], SOL_SOCKET, SO_PASSCRED, &on, sizeof on) != 0) {
    return SysError("set SO_PASSCRED");
  }
  if (fcntl(fds[0], F_SETFL, O_NONBLOCK) != 0) return SysError("set O_NONBLOCK");
  return pair;
}

PacketChannel::PacketChannel(EventLoop& loop, UniqueFd socket, Handlers handlers)
    : loop_(loop),
      socket_(std::move(socket)),
      handlers_(std::move(handlers)),
      alive_(std::make_shared<bool>(true)) {
  watch_ = loop_.WatchReadable(socket_.get(), [this] { Receive(); });
}

PacketChannel::~PacketChannel() {
  *alive_ = false;
  if (retry_timer_ != 0) loop_.CancelTimer(retry_timer_);
}

Result<> PacketChannel::Send(std::span<const std::byte> message, std::span<const int> fds) {
  if (waiting_.empty()) {
    SPORE_ASSIGN(const bool sent, SendNow(socket_.get(), message, fds));
    if (sent) return {};
  }
  Waiting waiting;
  waiting.message.assign(message.begin(), message.end());
  for (const int fd : fds) {
    UniqueFd copy(fcntl(fd, F_DUPFD_CLOEXEC, 3));
    if (!copy) return SysError("duplicate a descriptor");
    waiting.fds.push_back(std::move(copy));
  }
  waiting_.push_back(std::move(waiting));
  if (retry_timer_ == 0) retry_timer_ = loop_.AddTimer(kRetryDelay, [this] { Flush(); });
  return {};
}

void PacketChannel::Flush() {
  retry_timer_ = 0;
  while (!waiting_.empty()) {
    std::vector<int> fds;
    for (const UniqueFd& fd : waiting_.front().fds) fds.push_back(fd.get());
    auto sent = SendNow(socket_.get(), waiting_.front().message, fds);
    if (!sent) {
      waiting_.clear();  // the peer has gone: its end of file arrives by the watch
      return;
    }
    if (!*sent) {
      retry_timer_ = loop_.AddTimer(kRetryDelay, [this] { Flush(); });
      return;
    }
    waiting_.pop_front();
  }
}

void PacketChannel::Receive() {
  const std::shared_ptr<bool> alive = alive_;
  alignas(8) std::array<std::byte, kMaxMessage> buffer;
  while (*alive && watch_) {
    alignas(
        cmsghdr) char control[CMSG_SPACE(sizeof(int) * kMaxMessageFds) + CMSG_SPACE(sizeof(ucred))];
    iovec part{buffer.data(), buffer.size()};
    msghdr header{};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    header.msg_control = control;
    header.msg_controllen = sizeof control;
    const ssize_t size = recvmsg(socket_.get(), &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (size < 0 && errno == EINTR) continue;
    if (size < 0 && errno == EAGAIN) return;
    if (size < 0) return Close(errno);
    Packet packet;
    ReadControl(header, packet);
    if (size == 0) return Close(0);
    if ((header.msg_flags & MSG_TRUNC) != 0) return Close(EMSGSIZE);
    // Most likely this process is at its RLIMIT_NOFILE (unix(7), BUGS): that is no fault of the
    // peer and concerns this one message.
    packet.fds_lost = (header.msg_flags & MSG_CTRUNC) != 0;
    if (packet.fds_lost) packet.fds.clear();
    packet.data = std::span(buffer.data(), static_cast<size_t>(size));
    handlers_.on_packet(packet);
  }
}

void PacketChannel::Close(int errno_value) {
  watch_.reset();
  waiting_.clear();
  auto on_close = std::move(handlers_.on_close);
  if (on_close) on_close(errno_value);
}

}  // namespace spore
