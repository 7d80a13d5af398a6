// The ordinary thread pool: workers sleep on a condition variable.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace spore::victim {

class Pool {
 public:
  explicit Pool(int workers) {
    for (int i = 0; i < workers; ++i) threads_.emplace_back([this] { Work(); });
  }
  template <typename F>
  auto Run(F task) {
    auto packed = std::make_shared<std::packaged_task<decltype(task())()>>(std::move(task));
    auto future = packed->get_future();
    {
      const std::lock_guard lock(mutex_);
      tasks_.push_back([packed] { (*packed)(); });
    }
    wake_.notify_one();
    return future;
  }
  void Join() {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    wake_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }
  std::thread& thread(size_t i) { return threads_[i]; }

 private:
  void Work() {
    for (;;) {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [&] { return stopping_ || !tasks_.empty(); });
      if (tasks_.empty()) return;
      const auto task = std::move(tasks_.front());
      tasks_.pop_front();
      lock.unlock();
      task();
    }
  }

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> tasks_;
  std::vector<std::thread> threads_;
  bool stopping_ = false;
};

}  // namespace spore::victim
