#include <signal.h>

#include <atomic>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

#include "daemon/loop/event_loop.h"

namespace spore {

struct BlockingLane::Impl {
  struct Job {
    std::function<void()> work;
    std::function<void()> done;
  };

  explicit Impl(EventLoop& event_loop) : loop(event_loop) {
    // Signals belong to the loop's signalfd: the worker starts with all of them blocked.
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    thread = std::thread([this] { Work(); });
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
  }

  void Work() {
    std::unique_lock lock(mutex);
    while (true) {
      changed.wait(lock, [this] { return stopping || !jobs.empty(); });
      if (stopping) return;
      Job job = std::move(jobs.front());
      jobs.pop_front();
      lock.unlock();
      job.work();
      job.work = nullptr;
      // `done` must not run once the lane is gone, although it may already be queued.
      loop.PostFromThread([done = std::move(job.done), gate = alive] {
        if (*gate && done) done();
      });
      lock.lock();
    }
  }

  EventLoop& loop;
  std::shared_ptr<std::atomic<bool>> alive = std::make_shared<std::atomic<bool>>(true);
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<Job> jobs;
  bool stopping = false;
  std::thread thread;
};

BlockingLane::BlockingLane(EventLoop& loop) : impl_(std::make_unique<Impl>(loop)) {}

BlockingLane::~BlockingLane() {
  {
    std::lock_guard lock(impl_->mutex);
    impl_->stopping = true;
  }
  impl_->changed.notify_one();
  impl_->thread.join();
  *impl_->alive = false;
}

void BlockingLane::Submit(std::function<void()> job, std::function<void()> done) {
  {
    std::lock_guard lock(impl_->mutex);
    impl_->jobs.push_back({std::move(job), std::move(done)});
  }
  impl_->changed.notify_one();
}

}  // namespace spore
