// Signals around the freeze: masks that would keep it out, calls that it interrupts, handlers.
#include <gtest/gtest.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>

#include "tests/sfork/pool.h"
#include "tests/sfork/victim.h"
#include "zygote/sfork/freeze_signal.h"

namespace spore::victim {
namespace {

sigset_t All() {
  sigset_t all;
  sigfillset(&all);
  return all;
}

VICTIM(SforkSignals, ThreadsThatBlockEverythingCanBeStopped) {
  static std::atomic<int> gate = 0;
  static std::vector<std::thread> threads;
  const sigset_t all = All();
  static const auto wait = [] { gate.wait(0); };
  threads.emplace_back([&] {
    const sigset_t mine = All();
    REQUIRE(pthread_sigmask(SIG_BLOCK, &mine, nullptr) == 0);
    sigset_t got;
    REQUIRE(sigprocmask(SIG_SETMASK, nullptr, &got) == 0);
    REQUIRE(sigismember(&got, SIGTERM) == 1);
    REQUIRE(sigismember(&got, kFreezeSignal) == 0);
    wait();
    REQUIRE(sigprocmask(SIG_SETMASK, nullptr, &got) == 0);
    REQUIRE(sigismember(&got, SIGTERM) == 1);
  });
  // Inherited by a thread that is born with it, as libuv makes its own.
  REQUIRE(pthread_sigmask(SIG_SETMASK, &all, nullptr) == 0);
  threads.emplace_back(wait);
  sigset_t none;
  sigemptyset(&none);
  REQUIRE(pthread_sigmask(SIG_SETMASK, &none, nullptr) == 0);
  SforkAndCheck(Times(), [] {
    gate = 1;
    gate.notify_all();
    for (std::thread& thread : threads) thread.join();
  });
}

VICTIM(SforkSignals, ThreadsThatWaitForEverythingOrUnderAFullMaskCanBeStopped) {
  static const sigset_t all = All();
  static std::vector<std::thread> threads;
  static int got = 0;
  sigset_t blocked = All();
  REQUIRE(pthread_sigmask(SIG_BLOCK, &blocked, nullptr) == 0);
  threads.emplace_back([] { REQUIRE(sigwait(&all, &got) == 0); });
  threads.emplace_back([] {
    const timespec hour{.tv_sec = 3600, .tv_nsec = 0};
    (void)ppoll(nullptr, 0, &hour, &all);
    Fail(__FILE__, __LINE__, "ppoll ended");
  });
  threads.emplace_back([] {
    (void)pselect(0, nullptr, nullptr, nullptr, nullptr, &all);
    Fail(__FILE__, __LINE__, "pselect ended");
  });
  threads.emplace_back([] {
    (void)sigsuspend(&all);
    Fail(__FILE__, __LINE__, "sigsuspend ended");
  });
  SforkAndCheck(Times(), [] {
    REQUIRE(kill(getpid(), SIGUSR1) == 0);
    threads[0].join();
    REQUIRE(got == SIGUSR1);
    // The others sleep on: give them something to end by mistake with.
    for (size_t i = 1; i < 4; ++i) REQUIRE(pthread_kill(threads[i].native_handle(), 0) == 0);
  });
}

VICTIM(SforkSignals, TheFreezeSignalIsNotTheProgramsToHandle) {
  struct sigaction action {};
  action.sa_handler = SIG_IGN;
  errno = 0;
  REQUIRE(sigaction(kFreezeSignal, &action, nullptr) == -1 && errno == EINVAL);
  REQUIRE(signal(kFreezeSignal, SIG_IGN) == SIG_ERR);
  // Nor kept away while another signal is handled.
  sigfillset(&action.sa_mask);
  action.sa_handler = [](int) {};
  REQUIRE(sigaction(SIGUSR1, &action, nullptr) == 0);
  struct sigaction got {};
  REQUIRE(sigaction(SIGUSR1, nullptr, &got) == 0);
  REQUIRE(sigismember(&got.sa_mask, SIGUSR2) == 1);
  REQUIRE(sigismember(&got.sa_mask, kFreezeSignal) == 0);
  REQUIRE(signal(SIGUSR2, SIG_IGN) == SIG_DFL);
}

VICTIM(SforkSignals, AThreadAsleepInAHandlerComesBackInside) {
  static std::atomic<int> gate = 0;
  static std::atomic<bool> inside = false, outside = false;
  struct sigaction action {};
  action.sa_handler = [](int) {
    inside = true;
    gate.wait(0);
  };
  sigaction(SIGUSR1, &action, nullptr);
  static std::thread thread([] {
    raise(SIGUSR1);
    outside = true;
  });
  WaitUntil([] { return inside.load(); });
  SforkAndCheck(Times(), [] {
    REQUIRE(!outside);
    gate = 1;
    gate.notify_all();
    thread.join();
    REQUIRE(outside);
  });
}

VICTIM(SforkSignals, SignalsReachTheThreadTheyAreSentTo) {
  static std::array<std::atomic<int>, 4> counts{};
  static thread_local size_t index = 0;
  struct sigaction action {};
  action.sa_handler = [](int) { ++counts[index]; };
  action.sa_flags = SA_RESTART;
  sigaction(SIGUSR1, &action, nullptr);
  static std::atomic<int> gate = 0;
  static std::vector<std::thread> threads;
  for (size_t i = 0; i < 4; ++i) {
    threads.emplace_back([i] {
      index = i;
      gate.wait(0);
    });
  }
  SforkAndCheck(Times(), [] {
    for (size_t i = 0; i < 4; ++i) {
      REQUIRE(pthread_kill(threads[i].native_handle(), SIGUSR1) == 0);
      WaitUntil([i] { return counts[i] == 1; });
    }
    for (const auto& count : counts) REQUIRE(count == 1);
    gate = 1;
    gate.notify_all();
    for (std::thread& thread : threads) thread.join();
  });
}

// Calls that sleep: none returns early in a child, each still ends by what it waits for.
VICTIM(SforkSignals, SleepersSleepOnAndAreWoken) {
  static sem_t semaphore, timed_semaphore;
  sem_init(&semaphore, 0, 0);
  sem_init(&timed_semaphore, 0, 0);
  static std::atomic<int> woken = 0;
  static std::vector<std::thread> threads;
  static const auto far = [](clockid_t clock) {
    timespec when{};
    clock_gettime(clock, &when);
    when.tv_sec += 3600;
    return when;
  };
  threads.emplace_back([] {
    REQUIRE(sem_wait(&semaphore) == 0);
    ++woken;
  });
  threads.emplace_back([] {
    const timespec when = far(CLOCK_REALTIME);
    REQUIRE(sem_timedwait(&timed_semaphore, &when) == 0);
    ++woken;
  });
  static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
  static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
  static bool ready = false;
  threads.emplace_back([] {
    const timespec when = far(CLOCK_MONOTONIC);
    pthread_mutex_lock(&mutex);
    while (!ready) REQUIRE(pthread_cond_clockwait(&condition, &mutex, CLOCK_MONOTONIC, &when) == 0);
    pthread_mutex_unlock(&mutex);
    ++woken;
  });
  SforkAndCheck(Times(), [] {
    REQUIRE(woken == 0);
    REQUIRE(sem_post(&semaphore) == 0);
    REQUIRE(sem_post(&timed_semaphore) == 0);
    pthread_mutex_lock(&mutex);
    ready = true;
    pthread_cond_signal(&condition);
    pthread_mutex_unlock(&mutex);
    for (std::thread& thread : threads) thread.join();
    REQUIRE(woken == 3);
  });
}

VICTIM(SforkSignals, TimedSleepsEndWhenTheyShould) {
  static std::atomic<bool> slept = false, slept_until = false, timed_out = false;
  using Clock = std::chrono::steady_clock;
  static const auto start = Clock::now();
  constexpr auto kLong = std::chrono::milliseconds(400);
  static std::vector<std::thread> threads;
  threads.emplace_back([&] {
    std::this_thread::sleep_for(kLong);
    REQUIRE(Clock::now() - start >= kLong);
    slept = true;
  });
  threads.emplace_back([&] {
    std::this_thread::sleep_until(start + kLong);
    REQUIRE(Clock::now() - start >= kLong);
    slept_until = true;
  });
  threads.emplace_back([&] {
    std::mutex mutex;
    std::condition_variable never;
    std::unique_lock lock(mutex);
    REQUIRE(never.wait_until(lock, start + kLong) == std::cv_status::timeout);
    REQUIRE(Clock::now() - start >= kLong);
    timed_out = true;
  });
  SforkAndCheck(3, [] {
    for (std::thread& thread : threads) thread.join();
    REQUIRE(slept && slept_until && timed_out);
  });
}

// Event loops get EINTR from a wait with a time-out, as after any handler; without one they sleep
// on.
VICTIM(SforkSignals, EventLoopsAreInterruptedOnlyWhereTheyMustRecompute) {
  static std::array<std::atomic<int>, 4> ends{};  // 1: EINTR, 2: anything else
  static const auto note = [](size_t which, int result) {
    ends[which] = result == -1 && errno == EINTR ? 1 : 2;
  };
  static const int set = epoll_create1(EPOLL_CLOEXEC);
  std::thread([] {
    epoll_event event;
    note(0, epoll_wait(set, &event, 1, -1));
  }).detach();
  std::thread([] {
    epoll_event event;
    note(1, epoll_wait(set, &event, 1, 3'600'000));
  }).detach();
  std::thread([] { note(2, poll(nullptr, 0, -1)); }).detach();
  std::thread([] { note(3, poll(nullptr, 0, 3'600'000)); }).detach();
  SforkAndCheck(Times(), [] {
    WaitUntil([] { return ends[1] == 1 && ends[3] == 1; });
    REQUIRE(ends[0] == 0 && ends[2] == 0);
  });
}

VICTIM(SforkSignals, MemoryAdvisedAwayFromForksIsThereAllTheSame) {
  static auto* page = static_cast<char*>(
      mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  static auto* wiped = static_cast<char*>(
      mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  page[0] = wiped[0] = 'x';
  REQUIRE(madvise(page, 4096, MADV_DONTFORK) == 0);
  REQUIRE(madvise(wiped, 4096, MADV_WIPEONFORK) == 0);
  static Pool pool(1);
  SforkAndCheck(Times(), [] {
    REQUIRE(pool.Run([] { return page[0]; }).get() == 'x');
    REQUIRE(pool.Run([] { return wiped[0]; }).get() == '\0');
  });
}

}  // namespace
}  // namespace spore::victim
