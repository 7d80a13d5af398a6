// Pipes and socket pairs among the process's own threads: both ends, and what is on the way.
#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <optional>

#include "sandbox/sys/unique_fd.h"
#include "zygote/sfork/descriptor_table.h"

namespace spore {
namespace {

constexpr const char* kOutside = "leads out of the process: its children would share it";

short PollNow(int fd, short events) {
  pollfd look{.fd = fd, .events = events, .revents = 0};
  return poll(&look, 1, 0) < 0 ? short{0} : look.revents;
}

bool CanRead(const OpenFileNote& file) {
  return (file.status_flags & O_ACCMODE) == O_RDONLY;
}

// Takes out what is in a pipe and puts it back. Every thread is stopped, so nobody notices.
Result<> ReadAndRefill(OpenFileNote& reader, const OpenFileNote* writer) {
  int waiting = 0;
  if (ioctl(reader.fd(), FIONREAD, &waiting) < 0) return SysError("ioctl FIONREAD");
  if (waiting == 0) return {};
  if (writer == nullptr)
    return RefuseDescriptor(reader.fd(), "holds data that nobody could put back",
                            "read it or close it before the freeze");
  if ((writer->status_flags & O_DIRECT) != 0)
    return RefuseDescriptor(reader.fd(), "holds packets", "read them before the freeze");
  reader.unread.resize(static_cast<size_t>(waiting));
  for (size_t done = 0; done < reader.unread.size();) {
    const ssize_t got = read(reader.fd(), reader.unread.data() + done, reader.unread.size() - done);
    if (got <= 0) return SysError("read a pipe of the runtime");
    done += static_cast<size_t>(got);
  }
  // It has just been in there, so it fits; in small pieces it might not, were it spread over pages.
  for (size_t done = 0; done < reader.unread.size();) {
    const ssize_t put =
        write(writer->fd(), reader.unread.data() + done, reader.unread.size() - done);
    if (put <= 0) return SysError("refill a pipe of the runtime");
    done += static_cast<size_t>(put);
  }
  return {};
}

Result<> NotePipe(std::vector<OpenFileNote>& files, size_t index) {
  OpenFileNote& file = files[index];
  if ((file.status_flags & O_ACCMODE) == O_RDWR) return RefuseDescriptor(file.fd(), kOutside);
  for (size_t other = 0; other < files.size(); ++other) {
    const OpenFileNote& end = files[other];
    if (other == index || end.kind != OpenFileKind::kPipe || end.inode != file.inode) continue;
    // More than two: an end was opened again through /proc.
    if (file.peer >= 0 || CanRead(end) == CanRead(file))
      return RefuseDescriptor(file.fd(), "is a pipe with more than two ends");
    file.peer = static_cast<int>(other);
  }
  file.capacity = fcntl(file.fd(), F_GETPIPE_SZ);
  if (file.peer < 0) {
    const short closed = CanRead(file) ? POLLHUP : POLLERR;
    if ((PollNow(file.fd(), 0) & closed) == 0) return RefuseDescriptor(file.fd(), kOutside);
  }
  if (!CanRead(file)) return {};
  return ReadAndRefill(file, file.peer < 0 ? nullptr : &files[static_cast<size_t>(file.peer)]);
}

// The inode of a UNIX socket's peer: 0 when that is closed, nothing when there is none
// (sock_diag(7)).
Result<std::optional<ino_t>> PeerOf(ino_t inode) {
  const UniqueFd netlink(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG));
  if (!netlink) return SysError("socket NETLINK_SOCK_DIAG");
  struct {
    nlmsghdr header;
    unix_diag_req request;
  } question{};
  question.header = {.nlmsg_len = sizeof question,
                     .nlmsg_type = SOCK_DIAG_BY_FAMILY,
                     .nlmsg_flags = NLM_F_REQUEST};
  question.request.sdiag_family = AF_UNIX;
  question.request.udiag_states = ~0u;
  question.request.udiag_ino = static_cast<uint32_t>(inode);
  question.request.udiag_show = UDIAG_SHOW_PEER;
  question.request.udiag_cookie[0] = question.request.udiag_cookie[1] = ~0u;
  if (send(netlink.get(), &question, sizeof question, 0) < 0) return SysError("send to sock_diag");
  alignas(nlmsghdr) char answer[1024];
  const ssize_t got = recv(netlink.get(), answer, sizeof answer, 0);
  if (got < 0) return SysError("receive from sock_diag");
  const auto* header = reinterpret_cast<const nlmsghdr*>(answer);
  if (got < static_cast<ssize_t>(NLMSG_LENGTH(sizeof(unix_diag_msg))) ||
      header->nlmsg_type != SOCK_DIAG_BY_FAMILY) {
    return MakeError(ErrorKind::kInternal, "sock_diag does not know the socket");
  }
  constexpr size_t kFirst = NLMSG_LENGTH(sizeof(unix_diag_msg));
  for (size_t at = kFirst; at + sizeof(nlattr) <= header->nlmsg_len;) {
    nlattr attribute;
    memcpy(&attribute, answer + at, sizeof attribute);
    if (attribute.nla_type == UNIX_DIAG_PEER) {
      uint32_t peer = 0;
      memcpy(&peer, answer + at + sizeof attribute, sizeof peer);
      return std::optional<ino_t>(peer);
    }
    at += NLA_ALIGN(attribute.nla_len);
    if (attribute.nla_len == 0) break;
  }
  return std::optional<ino_t>();
}

// Connected, without names, and of streams: a datagram socket could send to any name in the
// zygote's network namespace.
bool IsUnnamedStream(int fd) {
  int domain = 0, type = 0;
  socklen_t length = sizeof domain;
  if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &length) < 0 || domain != AF_UNIX)
    return false;
  length = sizeof type;
  if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) < 0 || type != SOCK_STREAM) return false;
  sockaddr_un name{};
  length = sizeof name;
  return getsockname(fd, reinterpret_cast<sockaddr*>(&name), &length) == 0 &&
         length == sizeof name.sun_family;
}

// Looks at all that waits to be read and leaves it there.
Result<> PeekAll(OpenFileNote& file) {
  int waiting = 0;
  if (ioctl(file.fd(), FIONREAD, &waiting) < 0) return SysError("ioctl FIONREAD");
  if (waiting == 0) return {};
  file.unread.resize(static_cast<size_t>(waiting));
  iovec part{.iov_base = file.unread.data(), .iov_len = file.unread.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  // A message with descriptors ends the look early, or has no room for them.
  const ssize_t got = recvmsg(file.fd(), &message, MSG_PEEK | MSG_DONTWAIT);
  if (got != waiting || (message.msg_flags & MSG_CTRUNC) != 0)
    return RefuseDescriptor(file.fd(), "holds a message with descriptors",
                            "receive it before the freeze");
  return {};
}

Result<> NoteSocket(std::vector<OpenFileNote>& files, size_t index) {
  OpenFileNote& file = files[index];
  if (!IsUnnamedStream(file.fd())) return RefuseDescriptor(file.fd(), kOutside);
  Result<std::optional<ino_t>> peer = PeerOf(file.inode);
  if (!peer) return RefuseDescriptor(file.fd(), "cannot be looked at: " + peer.error().Message());
  if (!*peer) return RefuseDescriptor(file.fd(), "is not connected", "close it before the freeze");
  for (size_t other = 0; **peer != 0 && other < files.size(); ++other) {
    if (other != index && files[other].kind == OpenFileKind::kSocketPair &&
        files[other].inode == **peer) {
      file.peer = static_cast<int>(other);
    }
  }
  if (**peer != 0 && file.peer < 0) return RefuseDescriptor(file.fd(), kOutside);
  file.no_more_to_read = (PollNow(file.fd(), POLLRDHUP) & POLLRDHUP) != 0;
  return PeekAll(file);
}

}  // namespace

Result<> NotePairs(std::vector<OpenFileNote>& files) {
  for (size_t i = 0; i < files.size(); ++i) {
    if (files[i].kind == OpenFileKind::kPipe) SPORE_TRY(NotePipe(files, i));
    if (files[i].kind == OpenFileKind::kSocketPair) SPORE_TRY(NoteSocket(files, i));
  }
  return {};
}

}  // namespace spore
