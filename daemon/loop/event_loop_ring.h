// The io_uring below the event loop: submission, completion dispatch and the provided buffers.
// Inner header of the event loop; everything else uses daemon/loop/event_loop.h.
#pragma once

#include <liburing.h>
#include <time.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "daemon/loop/event_loop.h"
#include "sandbox/sys/result.h"

namespace spore {

// One operation that the kernel may hold. While it is in flight it keeps its owner alive, so that
// neither the memory nor the descriptor it names can go away below the kernel.
class RingOp {
 public:
  virtual ~RingOp() = default;
  bool in_flight() const { return in_flight_; }

 protected:
  // `result` and `flags` of the completion. in_flight() tells whether more will follow.
  virtual void Complete(int result, uint32_t flags) = 0;

 private:
  friend class Ring;
  std::shared_ptr<void> owner_;
  uint64_t submission_ = 0;
  bool in_flight_ = false;
};

class Ring {
 public:
  static Result<std::unique_ptr<Ring>> Create(const EventLoop::Options& options);
  // Cancels what is in flight and waits for it, so that no buffer is written to afterwards.
  ~Ring();
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;

  // The thread that calls this owns the ring from then on (IORING_SETUP_SINGLE_ISSUER).
  Result<> Enable();

  // A free submission entry that is already bound to `op`; prepare it before anything else is
  // called. `prepare` is one of the io_uring_prep functions with its arguments.
  template <typename Prepare>
  void Queue(RingOp& op, std::shared_ptr<void> owner, Prepare prepare) {
    io_uring_sqe* entry = NextEntry();
    prepare(entry);  // clears the whole entry, so user data comes after it
    io_uring_sqe_set_data(entry, &op);
    op.owner_ = std::move(owner);
    op.in_flight_ = true;
    op.submission_ = submission_;
    ++in_flight_;
  }
  // Asks the kernel to give `op` back; its completion still arrives.
  void Cancel(RingOp& op);
  // Makes sure that the kernel has seen the operation (its descriptor number may then be reused).
  void Flush(const RingOp& op);

  // Submits what is queued and, unless `poll`, waits for a completion or the timeout (null: none).
  Result<> SubmitAndWait(bool poll, __kernel_timespec* timeout);
  // Hands out the completions that are there now.
  void Dispatch();

  // The group that IOSQE_BUFFER_SELECT operations name.
  static constexpr uint16_t kBufferGroup = 1;
  unsigned buffer_bytes() const { return buffer_bytes_; }
  std::span<std::byte> Buffer(uint32_t completion_flags, size_t length);
  void ReturnBuffer(uint32_t completion_flags);

 private:
  Ring() = default;
  Result<> SetUp(const EventLoop::Options& options);
  Result<> SetUpBuffers(const EventLoop::Options& options);
  io_uring_sqe* NextEntry();
  void Drain();

  io_uring ring_{};
  bool ring_ready_ = false;
  bool enabled_ = false;
  uint64_t submission_ = 1;  // counts io_uring_enter calls that submit
  size_t in_flight_ = 0;     // operations and cancellations the kernel has not finished
  io_uring_buf_ring* buffer_ring_ = nullptr;
  std::byte* buffers_ = nullptr;
  unsigned buffer_count_ = 0;
  unsigned buffer_bytes_ = 0;
};

}  // namespace spore
