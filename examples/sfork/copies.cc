// libsfork alone: a program with threads that is copied again and again, and how long each part
// takes.
//
//   copies [THREADS [COPIES [MEGABYTES]]]
//
// The program loads (here: fills memory, starts a pool of threads), freezes itself, and from then
// on makes copies. Each copy has all of its threads, gives every one a task and ends.
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <condition_variable>
#include <cstdio>
#include <cstring>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "zygote/sfork/audit.h"
#include "zygote/sfork/sfork.h"

namespace {

long Now() {
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * 1'000'000'000L + time.tv_nsec;
}

// Every worker takes one number of each round.
class Workers {
 public:
  explicit Workers(int count) : count_(count) {
    for (int i = 0; i < count; ++i) std::thread([this] { Work(); }).detach();
  }
  // Returns when every thread has answered.
  void Round() {
    std::unique_lock lock(mutex_);
    ++round_;
    answers_ = 0;
    begin_.notify_all();
    end_.wait(lock, [this] { return answers_ == count_; });
  }

 private:
  void Work() {
    std::unique_lock lock(mutex_);
    for (int seen = 0;;) {
      begin_.wait(lock, [&] { return round_ != seen; });
      seen = round_;
      if (++answers_ == count_) end_.notify_one();
    }
  }

  const int count_;
  std::mutex mutex_;
  std::condition_variable begin_, end_;
  int round_ = 0, answers_ = 0;
};

// What a runtime's event loop consists of.
void MakeLoop() {
  const int set = epoll_create1(EPOLL_CLOEXEC);
  epoll_event event{};
  event.events = EPOLLIN;
  for (int i = 0; i < 3; ++i) {
    event.data.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    epoll_ctl(set, EPOLL_CTL_ADD, event.data.fd, &event);
  }
}

struct Times {
  long clone = 0, adopt = 0, renew = 0, revive = 0, answer = 0;
};

[[noreturn]] void InChild(const spore::FrozenProcess& frozen, Workers& workers, long start,
                          int out) {
  Times times;
  long t = Now();
  times.clone = t - start;
  const auto step = [&](long& duration, const spore::StepResult& result) {
    if (!result.ok()) {
      dprintf(2, "%s: %s\n", result.operation, strerror(result.errno_value));
      _exit(1);
    }
    duration = Now() - t;
    t += duration;
  };
  step(times.adopt, frozen.Adopt());
  step(times.renew, frozen.RenewDescriptors());
  // Here a sandbox would be entered and every privilege dropped.
  step(times.revive, frozen.ReviveThreads());
  workers.Round();
  times.answer = Now() - start;
  (void)!write(out, &times, sizeof times);
  _exit(0);
}

void Print(const char* name, std::vector<Times>& all, long Times::*part) {
  std::sort(all.begin(), all.end(),
            [&](const Times& a, const Times& b) { return a.*part < b.*part; });
  const auto us = [&](size_t i) { return static_cast<double>(all[i].*part) / 1000; };
  printf("%-28s %8.1f us median %8.1f us p99\n", name, us(all.size() / 2),
         us(all.size() * 99 / 100));
}

int Number(int argc, char** argv, int index, int otherwise) {
  if (index < argc) std::from_chars(argv[index], argv[index] + strlen(argv[index]), otherwise);
  return otherwise;
}

}  // namespace

int main(int argc, char** argv) {
  const int threads = Number(argc, argv, 1, 12), copies = Number(argc, argv, 2, 1000);
  const auto heap = static_cast<size_t>(Number(argc, argv, 3, 40)) << 20;

  // What the program was started with it may share with its copies; the pipe brings their figures.
  spore::FreezeOptions options{.stop_threads = true, .renew_descriptors = true};
  int figures[2];
  if (pipe2(figures, O_CLOEXEC) < 0) return 1;
  const std::vector<spore::DescriptorNote> inherited = spore::ListDescriptors().value();
  for (const spore::DescriptorNote& note : inherited)
    options.allowed_descriptors.push_back(note.fd);

  const std::unique_ptr<char[]> memory(new char[heap]);
  memset(memory.get(), 1, heap);
  // Never destroyed: threads sleep in it until the process ends.
  Workers& workers = *std::make_unique<Workers>(threads).release();
  MakeLoop();
  workers.Round();

  const long start = Now();
  const spore::Result<spore::FrozenProcess> frozen = spore::FrozenProcess::Freeze(options);
  if (!frozen) {
    fprintf(stderr, "freeze: %s\n", frozen.error().Message().c_str());
    return 1;
  }
  printf("%d threads, %zu MB, frozen in %ld us\n", threads, heap >> 20, (Now() - start) / 1000);

  std::vector<Times> all;
  for (int i = 0; i < copies; ++i) {
    const long begun = Now();
    const spore::Result<pid_t> pid = frozen->Clone({}, nullptr);
    if (!pid) {
      fprintf(stderr, "clone: %s\n", pid.error().Message().c_str());
      return 1;
    }
    if (*pid == 0) InChild(*frozen, workers, begun, figures[1]);
    int status = 0;
    if (waitpid(*pid, &status, __WALL) != *pid || status != 0) return 1;
    Times times;
    if (read(figures[0], &times, sizeof times) != sizeof times) return 1;
    all.push_back(times);
  }
  if (all.empty()) return 0;
  Print("audit and clone", all, &Times::clone);
  Print("adopt", all, &Times::adopt);
  Print("renew descriptors", all, &Times::renew);
  Print("revive threads", all, &Times::revive);
  Print("all threads have answered", all, &Times::answer);
}
