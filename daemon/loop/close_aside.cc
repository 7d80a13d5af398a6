#include "daemon/loop/close_aside.h"

#include <fcntl.h>
#include <signal.h>

#include <condition_variable>
#include <deque>
#include <mutex>
#include <system_error>
#include <thread>

namespace spore {
namespace {

// Each may be held up by one descriptor. Beyond that descriptors wait, still open.
constexpr unsigned kMaxThreads = 32;

class Closer {
 public:
  void Add(UniqueFd fd) {
    std::unique_lock lock(mutex_);
    waiting_.push_back(std::move(fd));
    if (idle_ >= waiting_.size()) {
      changed_.notify_one();
    } else if (threads_ < kMaxThreads) {
      Start();
    }
  }

 private:
  // Called with the lock held. Without a thread its work waits for the next one.
  void Start() {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    try {
      std::thread([this] { Work(); }).detach();
      ++threads_;
    } catch (const std::system_error&) {
    }
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
  }

  void Work() {
    std::unique_lock lock(mutex_);
    for (;;) {
      while (!waiting_.empty()) {
        UniqueFd fd = std::move(waiting_.front());
        waiting_.pop_front();
        lock.unlock();
        fd.Reset();
        lock.lock();
      }
      if (idle_ > 0) break;  // one that waits is enough
      ++idle_;
      changed_.wait(lock, [this] { return !waiting_.empty(); });
      --idle_;
    }
    --threads_;
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<UniqueFd> waiting_;
  size_t idle_ = 0;
  unsigned threads_ = 0;
};

}  // namespace

bool ClosesAtOnce(int fd) {
  return fcntl(fd, F_GETPIPE_SZ) >= 0 || fcntl(fd, F_GET_SEALS) >= 0;
}

void CloseAside(UniqueFd fd) {
  if (!fd || ClosesAtOnce(fd.get())) return;
  // Never destroyed: its threads may outlive everything else.
  static auto* const closer = new Closer;
  closer->Add(std::move(fd));
}

}  // namespace spore
