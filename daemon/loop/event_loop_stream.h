// Byte streams of the event loop. Inner header of the event loop.
#pragma once

#include <sys/socket.h>
#include <sys/uio.h>

#include <deque>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "daemon/loop/close_aside.h"
#include "daemon/loop/event_loop.h"
#include "daemon/loop/event_loop_ring.h"

namespace spore {

// What a stream is made of. Operations in flight share ownership of it, so it (and the descriptor)
// outlives the EventLoop::Stream that the user holds for as long as the kernel needs it.
class StreamCore : public std::enable_shared_from_this<StreamCore> {
 public:
  StreamCore(EventLoop& loop, Ring& ring, UniqueFd fd, bool receives_fds,
             EventLoop::Stream::Handlers handlers);
  ~StreamCore();

  void Start();
  void Write(std::string data, std::vector<UniqueFd> fds);
  void Pause();
  void Resume();
  void Destroy();  // the user let go: no handler is called from here on
  size_t pending_write_bytes() const { return pending_bytes_; }
  int fd() const { return fd_.get(); }

 private:
  enum class Kind { kPipe, kSocket, kSocketWithFds };
  class Op : public RingOp {
   public:
    using Handler = void (StreamCore::*)(int, uint32_t);
    Op(StreamCore& core, Handler handler) : core_(core), handler_(handler) {}
    void Complete(int result, uint32_t flags) override { (core_.*handler_)(result, flags); }

   private:
    StreamCore& core_;
    Handler handler_;
  };
  struct Chunk {
    std::string data;
    size_t sent = 0;
    std::vector<ClientFd> fds;  // may be a client's, on their way to its session
  };
  struct Stashed {
    std::string data;
    std::vector<UniqueFd> fds;
  };

  void StartRead();
  void OnRead(int result, uint32_t flags);
  // Parses a recvmsg completion; false when descriptors were cut off.
  bool TakeMessage(std::span<std::byte> buffer, std::span<const std::byte>* payload,
                   std::vector<UniqueFd>* fds);
  void Deliver(std::span<const std::byte> data, std::vector<UniqueFd> fds);
  void End(int errno_value);
  void FlushStash();

  void SendNow();
  void PrepareMessage();
  void QueueSend();
  void OnSent(int result, uint32_t flags);
  void Consume(size_t bytes);
  void FailWrites(int errno_value);

  EventLoop& loop_;
  Ring& ring_;
  UniqueFd fd_;
  Kind kind_;
  std::shared_ptr<EventLoop::Stream::Handlers> handlers_;  // null once destroyed
  Op read_op_{*this, &StreamCore::OnRead};
  Op write_op_{*this, &StreamCore::OnSent};

  msghdr receive_header_{};
  bool paused_ = false;
  bool ended_ = false;   // the end was seen (reported, or in the stash)
  bool closed_ = false;  // on_close was called
  int end_errno_ = 0;
  std::deque<Stashed> stash_;  // received while paused

  std::deque<Chunk> queue_;
  size_t pending_bytes_ = 0;
  int write_errno_ = 0;
  static constexpr size_t kMaxVectors = 16;
  static constexpr size_t kMaxFds = 253;  // SCM_MAX_FD, unix(7)
  msghdr send_header_{};
  iovec send_vectors_[kMaxVectors]{};
  std::vector<char> send_control_;
};

}  // namespace spore
