#include "daemon/loop/event_loop_ring.h"

#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstdio>
#include <cstdlib>

namespace spore {
namespace {

// From the best to the plainest: a kernel that does not know a flag refuses with EINVAL.
// DEFER_TASKRUN (6.1) runs completions only when we wait for them, so nothing interrupts a
// handler; see io_uring_setup(2).
constexpr unsigned kFlagSets[] = {
    IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,
    IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_COOP_TASKRUN,
    0,
};

size_t RingBytes(unsigned count) {
  return count * sizeof(io_uring_buf);
}

}  // namespace

Result<std::unique_ptr<Ring>> Ring::Create(const EventLoop::Options& options) {
  std::unique_ptr<Ring> ring(new Ring());
  SPORE_TRY(ring->SetUp(options));
  SPORE_TRY(ring->SetUpBuffers(options));
  return ring;
}

Result<> Ring::SetUp(const EventLoop::Options& options) {
  int result = -EINVAL;
  for (unsigned flags : kFlagSets) {
    io_uring_params params{};
    // R_DISABLED: the issuing thread is the one that runs the loop, not the one that made it.
    params.flags = flags | IORING_SETUP_R_DISABLED | IORING_SETUP_CLAMP | IORING_SETUP_CQSIZE;
    params.cq_entries = options.ring_entries * 4;
    result = io_uring_queue_init_params(options.ring_entries, &ring_, &params);
    if (result != -EINVAL) break;
  }
  if (result < 0) {
    return SysErrorOf(-result, "set up io_uring", {},
                      "kernel.io_uring_disabled must be 0 (or 1 for root), kernel 6.1 or later");
  }
  ring_ready_ = true;
  return {};
}

Result<> Ring::SetUpBuffers(const EventLoop::Options& options) {
  buffer_count_ = std::bit_ceil(std::clamp(options.buffer_count, 1u, 32768u));
  buffer_bytes_ = std::max(options.buffer_bytes, 1024u);
  // Anonymous pages: page aligned as the kernel wants the ring, and untouched until used.
  auto map = [](size_t bytes) {
    return mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  };
  void* ring_memory = map(RingBytes(buffer_count_));
  if (ring_memory == MAP_FAILED) return SysError("mmap", "buffer ring");
  buffer_ring_ = static_cast<io_uring_buf_ring*>(ring_memory);
  void* memory = map(size_t{buffer_count_} * buffer_bytes_);
  if (memory == MAP_FAILED) return SysError("mmap", "receive buffers");
  buffers_ = static_cast<std::byte*>(memory);

  io_uring_buf_reg registration{};
  registration.ring_addr = reinterpret_cast<uintptr_t>(ring_memory);
  registration.ring_entries = buffer_count_;
  registration.bgid = kBufferGroup;
  const int result = io_uring_register_buf_ring(&ring_, &registration, 0);
  if (result < 0) return SysErrorOf(-result, "register io_uring buffer ring");
  io_uring_buf_ring_init(buffer_ring_);
  const int mask = io_uring_buf_ring_mask(buffer_count_);
  for (unsigned i = 0; i < buffer_count_; ++i) {
    io_uring_buf_ring_add(buffer_ring_, buffers_ + size_t{i} * buffer_bytes_, buffer_bytes_,
                          static_cast<uint16_t>(i), mask, static_cast<int>(i));
  }
  io_uring_buf_ring_advance(buffer_ring_, static_cast<int>(buffer_count_));
  return {};
}

Ring::~Ring() {
  Drain();
  // What could not be drained (only when another thread than the loop's destroys the loop) may
  // still be written to: its memory stays.
  const bool leak = in_flight_ > 0;
  if (ring_ready_) io_uring_queue_exit(&ring_);
  if (leak) return;
  if (buffers_ != nullptr) munmap(buffers_, size_t{buffer_count_} * buffer_bytes_);
  if (buffer_ring_ != nullptr) munmap(buffer_ring_, RingBytes(buffer_count_));
}

void Ring::Drain() {
  if (in_flight_ == 0 || !Enable()) return;
  io_uring_sqe* entry = io_uring_get_sqe(&ring_);
  if (entry == nullptr) {
    (void)io_uring_submit(&ring_);
    entry = io_uring_get_sqe(&ring_);
    if (entry == nullptr) return;
  }
  io_uring_prep_cancel64(entry, 0, IORING_ASYNC_CANCEL_ANY);
  io_uring_sqe_set_data(entry, nullptr);
  ++in_flight_;
  for (int turn = 0; turn < 100 && in_flight_ > 0; ++turn) {
    __kernel_timespec timeout{.tv_sec = 0, .tv_nsec = 10'000'000};
    if (!SubmitAndWait(/*poll=*/false, &timeout)) return;
    Dispatch();
  }
}

Result<> Ring::Enable() {
  if (enabled_) return {};
  // io_uring_enable_rings is declared by liburing 2.3 but missing from its library.
  const int result = io_uring_register(static_cast<unsigned>(ring_.ring_fd),
                                       IORING_REGISTER_ENABLE_RINGS, nullptr, 0);
  if (result < 0) return SysErrorOf(-result, "enable io_uring");
  enabled_ = true;
  return {};
}

io_uring_sqe* Ring::NextEntry() {
  io_uring_sqe* entry = io_uring_get_sqe(&ring_);
  if (entry != nullptr) return entry;
  // The queue is full: hand it over early. Submitting always frees it, or the ring is broken, and
  // with it every promise the loop makes.
  if (Enable()) {
    for (int attempt = 0; attempt < 1000 && entry == nullptr; ++attempt) {
      (void)io_uring_submit(&ring_);
      ++submission_;
      entry = io_uring_get_sqe(&ring_);
    }
  }
  if (entry == nullptr) {
    std::fputs("spored: the kernel takes no io_uring submissions\n", stderr);
    std::abort();
  }
  return entry;
}

void Ring::Cancel(RingOp& op) {
  if (!op.in_flight_) return;
  io_uring_sqe* entry = NextEntry();
  io_uring_prep_cancel(entry, &op, 0);
  io_uring_sqe_set_data(entry, nullptr);
  ++in_flight_;
}

void Ring::Flush(const RingOp& op) {
  if (!enabled_ || !op.in_flight_ || op.submission_ != submission_) return;
  (void)io_uring_submit(&ring_);
  ++submission_;
}

Result<> Ring::SubmitAndWait(bool poll, __kernel_timespec* timeout) {
  ++submission_;
  int result = 0;
  if (poll) {
    result = io_uring_submit_and_get_events(&ring_);
  } else if (timeout == nullptr) {
    result = io_uring_submit_and_wait(&ring_, 1);
  } else {
    io_uring_cqe* first = nullptr;
    result = io_uring_submit_and_wait_timeout(&ring_, &first, 1, timeout, nullptr);
  }
  // EBUSY and EAGAIN: completions must be taken before more can be submitted.
  if (result >= 0 || result == -ETIME || result == -EINTR || result == -EBUSY ||
      result == -EAGAIN) {
    return {};
  }
  return SysErrorOf(-result, "io_uring_enter");
}

void Ring::Dispatch() {
  // Only what is there now: handlers that cause completions must not keep timers waiting.
  for (unsigned left = io_uring_cq_ready(&ring_) + 1; left > 0; --left) {
    io_uring_cqe* completion = nullptr;
    // Also fetches what had overflowed, once the queue is empty.
    if (io_uring_peek_cqe(&ring_, &completion) != 0 || completion == nullptr) return;
    auto* op = static_cast<RingOp*>(io_uring_cqe_get_data(completion));
    const int result = completion->res;
    const uint32_t flags = completion->flags;
    io_uring_cqe_seen(&ring_, completion);
    const bool more = (flags & IORING_CQE_F_MORE) != 0;
    if (!more) --in_flight_;
    if (op == nullptr) continue;  // a cancellation's own completion
    std::shared_ptr<void> keep = op->owner_;
    if (!more) {
      op->in_flight_ = false;
      op->owner_.reset();
    }
    op->Complete(result, flags);
  }
}

std::span<std::byte> Ring::Buffer(uint32_t completion_flags, size_t length) {
  const size_t id = completion_flags >> IORING_CQE_BUFFER_SHIFT;
  return {buffers_ + id * buffer_bytes_, std::min<size_t>(length, buffer_bytes_)};
}

void Ring::ReturnBuffer(uint32_t completion_flags) {
  const auto id = static_cast<uint16_t>(completion_flags >> IORING_CQE_BUFFER_SHIFT);
  io_uring_buf_ring_add(buffer_ring_, buffers_ + size_t{id} * buffer_bytes_, buffer_bytes_, id,
                        io_uring_buf_ring_mask(buffer_count_), 0);
  io_uring_buf_ring_advance(buffer_ring_, 1);
}

}  // namespace spore
