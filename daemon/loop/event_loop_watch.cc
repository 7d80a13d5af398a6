#include "daemon/loop/event_loop_watch.h"

#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <chrono>

namespace spore {
namespace {

// How long accepting rests when the process or the host has no descriptor left. The connection
// stays in the listen queue meanwhile.
constexpr std::chrono::milliseconds kAcceptRest{100};

// Shared by the watch and the kernel's operation; `alive` is false once the watch is gone.
class ReadableCore : public RingOp, public std::enable_shared_from_this<ReadableCore> {
 public:
  ReadableCore(Ring& ring, int fd, std::function<void()> ready)
      : ring_(ring), fd_(fd), ready_(std::make_shared<std::function<void()>>(std::move(ready))) {}

  void Start() {
    ring_.Queue(*this, shared_from_this(),
                [this](io_uring_sqe* entry) { io_uring_prep_poll_multishot(entry, fd_, POLLIN); });
  }

  void Stop() {
    ready_.reset();
    ring_.Cancel(*this);
    ring_.Flush(*this);
  }

 private:
  void Complete(int result, uint32_t /*flags*/) override {
    if (auto ready = ready_; ready != nullptr && result != -ECANCELED) (*ready)();
    // A multishot poll ends early when completions overflow; an error means a bad descriptor.
    if (ready_ != nullptr && !in_flight() && (result >= 0 || result == -ECANCELED)) Start();
  }

  Ring& ring_;
  int fd_;
  std::shared_ptr<std::function<void()>> ready_;
};

class AcceptCore : public RingOp, public std::enable_shared_from_this<AcceptCore> {
 public:
  AcceptCore(EventLoop& loop, Ring& ring, int fd, std::function<void(UniqueFd)> accepted)
      : loop_(loop),
        ring_(ring),
        fd_(fd),
        accepted_(std::make_shared<std::function<void(UniqueFd)>>(std::move(accepted))) {}

  void Start() {
    if (accepted_ == nullptr || in_flight()) return;
    ring_.Queue(*this, shared_from_this(), [this](io_uring_sqe* entry) {
      io_uring_prep_multishot_accept(entry, fd_, nullptr, nullptr, SOCK_CLOEXEC);
    });
  }

  void Stop() {
    accepted_.reset();
    ring_.Cancel(*this);
    ring_.Flush(*this);
  }

 private:
  void Complete(int result, uint32_t /*flags*/) override {
    if (result >= 0) {
      UniqueFd fd(result);  // closed here when nobody wants it any more
      if (auto accepted = accepted_) (*accepted)(std::move(fd));
    }
    if (accepted_ == nullptr || in_flight()) return;
    const bool harmless =
        result >= 0 || result == -ECONNABORTED || result == -EINTR || result == -ECANCELED;
    if (harmless) {
      Start();
      return;
    }
    loop_.AddTimer(kAcceptRest, [weak = weak_from_this()] {
      if (auto self = weak.lock()) self->Start();
    });
  }

  EventLoop& loop_;
  Ring& ring_;
  int fd_;
  std::shared_ptr<std::function<void(UniqueFd)>> accepted_;
};

// What the user holds.
template <typename Core>
class WatchHandle : public EventLoop::Watch {
 public:
  explicit WatchHandle(std::shared_ptr<Core> core) : core_(std::move(core)) { core_->Start(); }
  ~WatchHandle() override { core_->Stop(); }

 private:
  std::shared_ptr<Core> core_;
};

}  // namespace

std::unique_ptr<EventLoop::Watch> MakeReadableWatch(Ring& ring, int fd,
                                                    std::function<void()> ready) {
  return std::make_unique<WatchHandle<ReadableCore>>(
      std::make_shared<ReadableCore>(ring, fd, std::move(ready)));
}

std::unique_ptr<EventLoop::Watch> MakeAcceptWatch(EventLoop& loop, Ring& ring, int listen_fd,
                                                  std::function<void(UniqueFd)> accepted) {
  return std::make_unique<WatchHandle<AcceptCore>>(
      std::make_shared<AcceptCore>(loop, ring, listen_fd, std::move(accepted)));
}

}  // namespace spore
