#include "zygote/hosts/common/session_park.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include "zygote/hosts/common/channel.h"
#include "zygote/hosts/common/confine.h"
#include "zygote/protocol.h"
#include "zygote/session_protocol.h"

namespace spore {
namespace {

using session::Op;
using session::Reader;
using session::Tag;
using session::Writer;

constexpr uint32_t kMostOrder = 4096;

bool Answer(uint64_t ask, const std::string& body) {
  return WriteFrame(kInstanceFd, wire::FrameType::kTell, ask, body.data(), body.size());
}

// A new channel and what comes with it, on the one that stands in its place.
std::optional<Unparked> ReceiveOrder(std::vector<UniqueFd>& fds) {
  wire::FrameHeader header{};
  if (!ReceiveFromSpored(&header, sizeof header, &fds) || header.type != wire::FrameType::kAsk ||
      header.length > kMostOrder || fds.size() != 1) {
    return std::nullopt;
  }
  std::string body(header.length, '\0');
  if (!ReceiveFromSpored(body.data(), body.size(), nullptr)) return std::nullopt;
  Reader reader(body);
  if (reader.op() != Op::kUnpark) return std::nullopt;
  return Unparked{header.id, reader.Has(session::kRestored)};
}

}  // namespace

bool ReceiveFromSpored(void* buffer, size_t bytes, std::vector<UniqueFd>* fds) {
  auto* at = static_cast<char*>(buffer);
  while (bytes > 0) {
    constexpr size_t kMostFds = 4;
    alignas(cmsghdr) char control[CMSG_SPACE(kMostFds * sizeof(int))];
    iovec part{at, bytes};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    const ssize_t got = recvmsg(kInstanceFd, &message, MSG_CMSG_CLOEXEC);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    for (cmsghdr* item = CMSG_FIRSTHDR(&message); item != nullptr;
         item = CMSG_NXTHDR(&message, item)) {
      if (item->cmsg_level != SOL_SOCKET || item->cmsg_type != SCM_RIGHTS) continue;
      const size_t count = (item->cmsg_len - CMSG_LEN(0)) / sizeof(int);
      for (size_t i = 0; i < count; ++i) {
        int fd = -1;
        memcpy(&fd, CMSG_DATA(item) + i * sizeof fd, sizeof fd);
        UniqueFd owned(fd);
        if (fds != nullptr) fds->push_back(std::move(owned));
      }
    }
    at += got;
    bytes -= static_cast<size_t>(got);
  }
  return true;
}

std::optional<Unparked> WaitParked(uint64_t ask) {
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) {
    const auto error = static_cast<uint64_t>(errno);
    (void)Answer(
        ask,
        Writer(Op::kFailed).PutNumber(Tag::kErrno, error).Put(Tag::kText, "make a socket").Take());
    return Unparked{};
  }
  const UniqueFd ours(pair[0]);
  UniqueFd theirs(pair[1]);
  (void)prctl(PR_SET_DUMPABLE, 1);
  const auto number = static_cast<uint64_t>(theirs.get());
  if (!Answer(ask, Writer(Op::kDone).PutNumber(Tag::kDescriptor, number).Take()) ||
      dup3(ours.get(), kInstanceFd, O_CLOEXEC) < 0) {
    return std::nullopt;
  }
  std::vector<UniqueFd> fds;
  const std::optional<Unparked> order = ReceiveOrder(fds);
  (void)prctl(PR_SET_DUMPABLE, 0);
  if (!order || dup3(fds.front().get(), kInstanceFd, O_CLOEXEC) < 0) return std::nullopt;
  return order;
}

}  // namespace spore
