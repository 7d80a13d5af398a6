#include "daemon/loop/event_loop_stream.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "daemon/loop/close_aside.h"

namespace spore {
namespace {

// Descriptors accepted with one message; more than that is a broken peer.
constexpr size_t kReceiveFds = 64;
// Room for the most that a message can carry (SCM_MAX_FD): what finds none the kernel would close,
// here and now, see close_aside.h.
constexpr size_t kRoomForFds = 253;

bool IsSocket(int fd) {
  struct stat status {};
  return fstat(fd, &status) == 0 && S_ISSOCK(status.st_mode);
}

}  // namespace

StreamCore::StreamCore(EventLoop& loop, Ring& ring, UniqueFd fd, bool receives_fds,
                       EventLoop::Stream::Handlers handlers)
    : loop_(loop),
      ring_(ring),
      fd_(std::move(fd)),
      kind_(!IsSocket(fd_.get()) ? Kind::kPipe
            : receives_fds       ? Kind::kSocketWithFds
                                 : Kind::kSocket),
      handlers_(std::make_shared<EventLoop::Stream::Handlers>(std::move(handlers))) {
  // io_uring answers EAGAIN instead of waiting when O_NONBLOCK is set on a pipe.
  const int flags = fcntl(fd_.get(), F_GETFL);
  if (flags >= 0 && (flags & O_NONBLOCK) != 0) (void)fcntl(fd_.get(), F_SETFL, flags & ~O_NONBLOCK);
  receive_header_.msg_controllen = CMSG_SPACE(kRoomForFds * sizeof(int));
}

StreamCore::~StreamCore() {
  if (kind_ != Kind::kSocketWithFds) return;
  // Descriptors that the peer has sent and nobody has received are closed with it.
  (void)shutdown(fd_.get(), SHUT_RDWR);
  CloseAside(std::move(fd_));
}

void StreamCore::Start() {
  StartRead();
}

void StreamCore::StartRead() {
  if (handlers_ == nullptr || ended_ || paused_ || read_op_.in_flight()) return;
  ring_.Queue(read_op_, shared_from_this(), [this](io_uring_sqe* entry) {
    switch (kind_) {
      case Kind::kPipe:
        io_uring_prep_read(entry, fd_.get(), nullptr, ring_.buffer_bytes(), ~uint64_t{0});
        break;
      case Kind::kSocket:
        io_uring_prep_recv_multishot(entry, fd_.get(), nullptr, 0, 0);
        break;
      case Kind::kSocketWithFds:
        io_uring_prep_recvmsg_multishot(entry, fd_.get(), &receive_header_, MSG_CMSG_CLOEXEC);
        break;
    }
    entry->flags |= IOSQE_BUFFER_SELECT;
    entry->buf_group = Ring::kBufferGroup;
  });
}

void StreamCore::OnRead(int result, uint32_t flags) {
  const bool has_buffer = (flags & IORING_CQE_F_BUFFER) != 0;
  if (result > 0 && has_buffer) {
    std::span<std::byte> buffer = ring_.Buffer(flags, static_cast<size_t>(result));
    std::span<const std::byte> payload = buffer;
    std::vector<UniqueFd> fds;
    bool whole = true;
    if (kind_ == Kind::kSocketWithFds) whole = TakeMessage(buffer, &payload, &fds);
    if (!whole) {
      End(EMSGSIZE);
    } else if (payload.empty()) {
      End(0);
    } else {
      Deliver(payload, std::move(fds));
    }
  }
  if (has_buffer) ring_.ReturnBuffer(flags);
  if (result == 0) End(0);
  // ENOBUFS: all buffers were in use; each is given back right after its handler, so there are
  // free ones by now. ECANCELED: by Pause or Destroy, and StartRead knows.
  if (result < 0 && result != -ENOBUFS && result != -ECANCELED && result != -EINTR &&
      result != -EAGAIN) {
    End(-result);
  }
  if ((flags & IORING_CQE_F_MORE) == 0) {
    StartRead();
  } else if (ended_) {
    ring_.Cancel(read_op_);
  }
}

bool StreamCore::TakeMessage(std::span<std::byte> buffer, std::span<const std::byte>* payload,
                             std::vector<UniqueFd>* fds) {
  io_uring_recvmsg_out* out =
      io_uring_recvmsg_validate(buffer.data(), static_cast<int>(buffer.size()), &receive_header_);
  if (out == nullptr) return false;
  for (cmsghdr* message = io_uring_recvmsg_cmsg_firsthdr(out, &receive_header_); message != nullptr;
       message = io_uring_recvmsg_cmsg_nexthdr(out, &receive_header_, message)) {
    if (message->cmsg_level != SOL_SOCKET || message->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (message->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(message) + i * sizeof(int), sizeof(int));
      // Kernels differ in whether a multishot recvmsg minds MSG_CMSG_CLOEXEC.
      (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
      fds->emplace_back(fd);
    }
  }
  const auto length =
      io_uring_recvmsg_payload_length(out, static_cast<int>(buffer.size()), &receive_header_);
  const auto* start =
      static_cast<const std::byte*>(io_uring_recvmsg_payload(out, &receive_header_));
  *payload = {start, length};
  if ((out->flags & MSG_CTRUNC) == 0 && fds->size() <= kReceiveFds) return true;
  for (UniqueFd& fd : *fds) CloseAside(std::move(fd));
  fds->clear();
  return false;
}

void StreamCore::Deliver(std::span<const std::byte> data, std::vector<UniqueFd> fds) {
  if (handlers_ == nullptr || ended_) return;
  if (paused_ || !stash_.empty()) {
    stash_.push_back(
        {std::string(reinterpret_cast<const char*>(data.data()), data.size()), std::move(fds)});
    return;
  }
  auto handlers = handlers_;  // the handler may destroy the stream
  if (handlers->on_data) handlers->on_data(data, std::move(fds));
}

void StreamCore::End(int errno_value) {
  if (handlers_ == nullptr || closed_) return;
  if (!ended_) {
    ended_ = true;
    end_errno_ = errno_value != 0 ? errno_value : write_errno_;
  }
  if (paused_ || !stash_.empty()) return;  // told by FlushStash
  closed_ = true;
  queue_.clear();
  pending_bytes_ = 0;
  ring_.Cancel(write_op_);
  auto handlers = handlers_;
  if (handlers->on_close) handlers->on_close(end_errno_);
}

void StreamCore::Pause() {
  if (paused_) return;
  paused_ = true;
  // A pipe's read is a single one; what it still brings goes to the stash.
  if (kind_ != Kind::kPipe) ring_.Cancel(read_op_);
}

void StreamCore::Resume() {
  if (!paused_) return;
  paused_ = false;
  if (stash_.empty() && !ended_) {
    StartRead();
    return;
  }
  // Not from inside the caller: a handler may hold half-changed state.
  loop_.Post([self = shared_from_this()] { self->FlushStash(); });
}

void StreamCore::FlushStash() {
  while (handlers_ != nullptr && !paused_ && !stash_.empty()) {
    Stashed chunk = std::move(stash_.front());
    // Kept in the deque (empty) during the call, so that what arrives meanwhile queues behind it.
    auto handlers = handlers_;
    if (handlers->on_data)
      handlers->on_data(std::as_bytes(std::span(chunk.data)), std::move(chunk.fds));
    if (!stash_.empty()) stash_.pop_front();
  }
  if (handlers_ == nullptr || paused_) return;
  if (ended_) {
    End(end_errno_);
  } else {
    StartRead();
  }
}

void StreamCore::Destroy() {
  handlers_.reset();
  stash_.clear();
  ring_.Cancel(read_op_);
  ring_.Cancel(write_op_);
  // An operation in flight points into the front of the queue: it stays until that has ended.
  if (!write_op_.in_flight()) queue_.clear();
}

void StreamCore::Write(std::string data, std::vector<UniqueFd> borrowed) {
  std::vector<ClientFd> fds;
  for (UniqueFd& fd : borrowed) fds.emplace_back(std::move(fd));
  if (data.empty() || closed_ || write_errno_ != 0 || handlers_ == nullptr) return;
  if (fds.size() > kMaxFds) {
    FailWrites(EINVAL);
    return;
  }
  pending_bytes_ += data.size();
  queue_.push_back({std::move(data), 0, std::move(fds)});
  if (!write_op_.in_flight()) SendNow();
}

void StreamCore::PrepareMessage() {
  size_t count = 0;
  for (Chunk& chunk : queue_) {
    // Descriptors go with the first byte of a message (unix(7)), so a chunk with some starts one.
    if (count == kMaxVectors || (count > 0 && !chunk.fds.empty())) break;
    send_vectors_[count].iov_base = chunk.data.data() + chunk.sent;
    send_vectors_[count].iov_len = chunk.data.size() - chunk.sent;
    ++count;
  }
  send_header_ = {};
  send_header_.msg_iov = send_vectors_;
  send_header_.msg_iovlen = count;
  const std::vector<ClientFd>& fds = queue_.front().fds;
  if (fds.empty()) return;
  const size_t bytes = fds.size() * sizeof(int);
  send_control_.assign(CMSG_SPACE(bytes), 0);
  send_header_.msg_control = send_control_.data();
  send_header_.msg_controllen = send_control_.size();
  cmsghdr* control = CMSG_FIRSTHDR(&send_header_);
  control->cmsg_level = SOL_SOCKET;
  control->cmsg_type = SCM_RIGHTS;
  control->cmsg_len = CMSG_LEN(bytes);
  for (size_t i = 0; i < fds.size(); ++i) {
    const int fd = fds[i].get();
    std::memcpy(CMSG_DATA(control) + i * sizeof(int), &fd, sizeof(int));
  }
}

// Most answers fit the socket's buffer: a direct send saves the way through the ring.
void StreamCore::SendNow() {
  while (!queue_.empty()) {
    PrepareMessage();
    const ssize_t sent = sendmsg(fd_.get(), &send_header_, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent >= 0) {
      Consume(static_cast<size_t>(sent));
    } else if (errno == EAGAIN) {
      QueueSend();
      return;
    } else if (errno != EINTR) {
      FailWrites(errno);
      return;
    }
  }
}

void StreamCore::QueueSend() {
  if (handlers_ == nullptr || queue_.empty()) return;
  PrepareMessage();
  ring_.Queue(write_op_, shared_from_this(), [this](io_uring_sqe* entry) {
    io_uring_prep_sendmsg(entry, fd_.get(), &send_header_, MSG_NOSIGNAL);
  });
}

void StreamCore::OnSent(int result, uint32_t /*flags*/) {
  if (handlers_ == nullptr || closed_) {
    queue_.clear();
    pending_bytes_ = 0;
    return;
  }
  if (result >= 0) {
    Consume(static_cast<size_t>(result));
    SendNow();
  } else if (result == -EAGAIN || result == -EINTR) {
    QueueSend();
  } else {
    FailWrites(-result);
  }
}

void StreamCore::Consume(size_t bytes) {
  pending_bytes_ -= std::min(bytes, pending_bytes_);
  if (bytes > 0 && !queue_.empty()) queue_.front().fds.clear();
  while (bytes > 0 && !queue_.empty()) {
    Chunk& chunk = queue_.front();
    const size_t part = std::min(bytes, chunk.data.size() - chunk.sent);
    chunk.sent += part;
    bytes -= part;
    if (chunk.sent == chunk.data.size()) queue_.pop_front();
  }
}

// The reading side reports the end, after what the peer had still sent before it went: shutdown(2)
// leaves received data readable and puts an end of file behind it.
void StreamCore::FailWrites(int errno_value) {
  write_errno_ = errno_value;
  queue_.clear();
  pending_bytes_ = 0;
  (void)shutdown(fd_.get(), SHUT_RDWR);
}

}  // namespace spore
