#include "daemon/loop/event_loop.h"

#include <sys/eventfd.h>
#include <time.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <mutex>
#include <unordered_map>

#include "daemon/loop/event_loop_ring.h"
#include "daemon/loop/event_loop_stream.h"
#include "daemon/loop/event_loop_watch.h"

namespace spore {
namespace {

class StreamHandle : public EventLoop::Stream {
 public:
  explicit StreamHandle(std::shared_ptr<StreamCore> core) : core_(std::move(core)) {}
  ~StreamHandle() override { core_->Destroy(); }
  void Write(std::string data, std::vector<UniqueFd> fds) override {
    // A handler may destroy this object, never the core that works for it.
    auto core = core_;
    core->Write(std::move(data), std::move(fds));
  }
  size_t pending_write_bytes() const override { return core_->pending_write_bytes(); }
  void PauseReading() override { core_->Pause(); }
  void ResumeReading() override { core_->Resume(); }
  int fd() const override { return core_->fd(); }

 private:
  std::shared_ptr<StreamCore> core_;
};

class RingEventLoop : public EventLoop {
 public:
  ~RingEventLoop() override {
    // What tasks hold may still use the loop while it is let go.
    while (!tasks_.empty() || !timers_.empty()) {
      auto tasks = std::move(tasks_);
      tasks_.clear();
      auto timers = std::move(timers_);
      timers_.clear();
      deadlines_.clear();
    }
    wake_watch_.reset();
    ring_.reset();
  }

  Result<> SetUp(const Options& options) {
    SPORE_ASSIGN(ring_, Ring::Create(options));
    wake_fd_.Reset(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!wake_fd_) return SysError("eventfd");
    wake_watch_ = WatchReadable(wake_fd_.get(), [this] { TakeForeignTasks(); });
    return {};
  }

  void Post(std::function<void()> task) override { tasks_.push_back(std::move(task)); }

  void PostFromThread(std::function<void()> task) override {
    bool first = false;
    {
      std::lock_guard lock(foreign_mutex_);
      first = foreign_tasks_.empty();
      foreign_tasks_.push_back(std::move(task));
    }
    if (first) (void)eventfd_write(wake_fd_.get(), 1);
  }

  TimerId AddTimer(std::chrono::nanoseconds delay, std::function<void()> task) override {
    const int64_t wait = std::clamp<int64_t>(delay.count(), 0, int64_t{1} << 60);
    const uint64_t deadline = MonotonicNs() + static_cast<uint64_t>(wait);
    const TimerId id = ++last_timer_;
    timers_.emplace(std::pair(deadline, id), std::move(task));
    deadlines_.emplace(id, deadline);
    return id;
  }

  void CancelTimer(TimerId id) override {
    auto found = deadlines_.find(id);
    if (found == deadlines_.end()) return;
    const auto key = std::pair(found->second, id);
    deadlines_.erase(found);
    timers_.extract(key);
  }

  std::unique_ptr<Watch> WatchReadable(int fd, std::function<void()> ready) override {
    return MakeReadableWatch(*ring_, fd, std::move(ready));
  }

  std::unique_ptr<Stream> OpenStream(UniqueFd fd, bool receives_fds,
                                     Stream::Handlers handlers) override {
    auto core = std::make_shared<StreamCore>(*this, *ring_, std::move(fd), receives_fds,
                                             std::move(handlers));
    core->Start();
    return std::make_unique<StreamHandle>(std::move(core));
  }

  std::unique_ptr<Watch> Accept(int listen_fd, std::function<void(UniqueFd)> accepted) override {
    return MakeAcceptWatch(*this, *ring_, listen_fd, std::move(accepted));
  }

  Result<> Run() override {
    SPORE_TRY(ring_->Enable());
    stop_ = false;
    while (true) {
      RunTasks();
      RunTimers();
      if (stop_) return {};
      __kernel_timespec timeout{};
      const bool poll = !tasks_.empty();
      SPORE_TRY(ring_->SubmitAndWait(poll, NextTimeout(&timeout)));
      ring_->Dispatch();
    }
  }

  void Stop() override { stop_ = true; }

 private:
  void RunTasks() {
    // Tasks posted by tasks wait for the next turn, so that input is not starved.
    std::vector<std::function<void()>> tasks = std::move(tasks_);
    tasks_.clear();
    for (auto& task : tasks) {
      task();
      task = nullptr;
    }
  }

  void RunTimers() {
    if (timers_.empty()) return;
    const uint64_t now = MonotonicNs();
    while (!timers_.empty() && timers_.begin()->first.first <= now) {
      auto node = timers_.extract(timers_.begin());
      deadlines_.erase(node.key().second);
      node.mapped()();
    }
  }

  __kernel_timespec* NextTimeout(__kernel_timespec* timeout) const {
    if (timers_.empty()) return nullptr;
    const uint64_t now = MonotonicNs();
    const uint64_t deadline = timers_.begin()->first.first;
    const uint64_t wait = deadline > now ? deadline - now : 0;
    timeout->tv_sec = static_cast<int64_t>(wait / 1'000'000'000);
    timeout->tv_nsec = static_cast<long long>(wait % 1'000'000'000);
    return timeout;
  }

  void TakeForeignTasks() {
    eventfd_t ignored = 0;
    (void)eventfd_read(wake_fd_.get(), &ignored);
    std::vector<std::function<void()>> tasks;
    {
      std::lock_guard lock(foreign_mutex_);
      tasks.swap(foreign_tasks_);
    }
    for (auto& task : tasks) tasks_.push_back(std::move(task));
  }

  std::unique_ptr<Ring> ring_;
  bool stop_ = false;
  std::vector<std::function<void()>> tasks_;
  std::map<std::pair<uint64_t, TimerId>, std::function<void()>> timers_;
  std::unordered_map<TimerId, uint64_t> deadlines_;
  TimerId last_timer_ = 0;
  UniqueFd wake_fd_;
  std::unique_ptr<Watch> wake_watch_;
  std::mutex foreign_mutex_;
  std::vector<std::function<void()>> foreign_tasks_;
};

}  // namespace

uint64_t MonotonicNs() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

Result<std::unique_ptr<EventLoop>> EventLoop::Create(const Options& options) {
  auto loop = std::make_unique<RingEventLoop>();
  SPORE_TRY(loop->SetUp(options));
  return loop;
}

}  // namespace spore
