// Locks held and waited for across the freeze.
#include <gtest/gtest.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <barrier>
#include <cerrno>
#include <condition_variable>
#include <latch>
#include <mutex>
#include <shared_mutex>
#include <thread>

#include "tests/sfork/victim.h"

namespace spore::victim {
namespace {

VICTIM(SforkLocks, AMutexHeldByASleeperIsHeldInTheChild) {
  static std::mutex mutex;
  static std::atomic<int> gate = 0;
  static std::atomic<bool> locked = false;
  static std::thread holder([] {
    const std::lock_guard lock(mutex);
    locked = true;
    gate.wait(0);
  });
  static std::atomic<int> passed = 0;
  WaitUntil([] { return locked.load(); });
  static std::thread waiter([] {
    const std::lock_guard lock(mutex);
    ++passed;
  });
  SforkAndCheck(Times(), [] {
    REQUIRE(!mutex.try_lock());
    REQUIRE(passed == 0);
    gate = 1;
    gate.notify_all();
    const std::lock_guard lock(mutex);
    holder.join();
  });
}

VICTIM(SforkLocks, AThousandHandoversThroughAConditionVariable) {
  static std::mutex mutex;
  static std::condition_variable changed;
  static int turn = 0;
  constexpr int kPlayers = 4, kRounds = 250;
  static std::vector<std::thread> players;
  for (int i = 0; i < kPlayers; ++i) {
    players.emplace_back([i] {
      std::unique_lock lock(mutex);
      for (int round = 0; round < kRounds; ++round) {
        changed.wait(lock, [&] { return turn % (kPlayers + 1) == i + 1; });
        ++turn;
        changed.notify_all();
      }
    });
  }
  SforkAndCheck(20, [] {
    for (int round = 0; round < kRounds; ++round) {
      std::unique_lock lock(mutex);
      changed.wait(lock, [] { return turn % (kPlayers + 1) == 0; });
      ++turn;
      changed.notify_all();
    }
    for (std::thread& player : players) player.join();
    REQUIRE(turn == (kPlayers + 1) * kRounds);
  });
}

VICTIM(SforkLocks, ReadersAndWriters) {
  static std::shared_mutex mutex;
  static std::atomic<int> gate = 0, held = 0, written = 0;
  static std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([] {
      const std::shared_lock lock(mutex);
      ++held;
      gate.wait(0);
    });
  }
  WaitUntil([] { return held == 3; });
  threads.emplace_back([] {
    const std::unique_lock lock(mutex);
    ++written;
  });
  SforkAndCheck(Times(), [] {
    REQUIRE(written == 0);
    gate = 1;
    gate.notify_all();
    for (std::thread& thread : threads) thread.join();
    REQUIRE(written == 1);
    REQUIRE(mutex.try_lock());
  });
}

void InitRobust(pthread_mutex_t& mutex, int type) {
  pthread_mutexattr_t attributes;
  pthread_mutexattr_init(&attributes);
  pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
  pthread_mutexattr_settype(&attributes, type);
  pthread_mutex_init(&mutex, &attributes);
}

// A robust mutex knows its owner by id, for glibc and for the kernel.
VICTIM(SforkLocks, RobustMutexesBelongToTheSameThreads) {
  static std::array<pthread_mutex_t, 3> mutexes;
  static pthread_mutex_t callers;
  for (auto& mutex : mutexes) InitRobust(mutex, PTHREAD_MUTEX_ERRORCHECK);
  InitRobust(callers, PTHREAD_MUTEX_RECURSIVE);
  static std::atomic<int> gate = 0, held = 0;
  static std::thread orderly([] {
    REQUIRE(pthread_mutex_lock(&mutexes[0]) == 0 && pthread_mutex_lock(&mutexes[1]) == 0);
    ++held;
    gate.wait(0);
    REQUIRE(pthread_mutex_unlock(&mutexes[1]) == 0 && pthread_mutex_unlock(&mutexes[0]) == 0);
  });
  static std::thread dying([] {
    REQUIRE(pthread_mutex_lock(&mutexes[2]) == 0);
    ++held;
    gate.wait(0);  // and ends without an unlock
  });
  REQUIRE(pthread_mutex_lock(&callers) == 0);
  WaitUntil([] { return held == 2; });
  SforkAndCheck(Times(), [] {
    // The caller's own, taken a second time.
    REQUIRE(pthread_mutex_lock(&callers) == 0);
    REQUIRE(pthread_mutex_unlock(&callers) == 0 && pthread_mutex_unlock(&callers) == 0);
    REQUIRE(pthread_mutex_unlock(&callers) == EPERM);
    for (auto& mutex : mutexes) REQUIRE(pthread_mutex_trylock(&mutex) == EBUSY);
    gate = 1;
    gate.notify_all();
    // The kernel finds it on the dead thread's list, and the child's id in it.
    REQUIRE(pthread_mutex_lock(&mutexes[2]) == EOWNERDEAD);
    REQUIRE(pthread_mutex_consistent(&mutexes[2]) == 0);
    REQUIRE(pthread_mutex_unlock(&mutexes[2]) == 0);
    orderly.join();
    dying.join();
    REQUIRE(pthread_mutex_lock(&mutexes[0]) == 0 && pthread_mutex_lock(&mutexes[1]) == 0);
  });
}

// So does a recursive one, and one that checks for errors; of those nobody keeps a list.
VICTIM(SforkLocks, RecursiveAndCheckingMutexesBelongToTheSameThreads) {
  static std::recursive_mutex recursive, callers;
  static pthread_mutex_t checking = PTHREAD_ERRORCHECK_MUTEX_INITIALIZER_NP;
  static std::atomic<int> gate = 0, held = 0;
  static std::thread holder([] {
    const std::lock_guard lock(recursive);
    REQUIRE(pthread_mutex_lock(&checking) == 0);
    ++held;
    // As any caller has it: what is held is known by address.
    std::recursive_mutex* const known[] = {&recursive};
    pthread_mutex_t* volatile checked = &checking;
    gate.wait(0);
    REQUIRE(known[0]->try_lock());
    known[0]->unlock();
    REQUIRE(pthread_mutex_lock(checked) == EDEADLK);
    REQUIRE(pthread_mutex_unlock(checked) == 0);
  });
  WaitUntil([] { return held == 1; });
  const std::lock_guard lock(callers);
  std::recursive_mutex* volatile mine = &callers;
  SforkAndCheck(Times(), [&] {
    REQUIRE(mine->try_lock());
    mine->unlock();
    gate = 1;
    gate.notify_all();
    holder.join();
    const std::lock_guard again(recursive);
    REQUIRE(pthread_mutex_lock(&checking) == 0);
  });
}

VICTIM(SforkLocks, BarriersLatchesAndJoinsInProgress) {
  static std::barrier barrier(4);
  static std::latch latch(1);
  static std::atomic<int> through = 0;
  static std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([] {
      barrier.arrive_and_wait();
      ++through;
    });
  }
  // One that is joined by another while both sleep.
  static std::thread sleeper([] { latch.wait(); });
  static std::thread joiner([] { sleeper.join(); });
  SforkAndCheck(Times(), [] {
    REQUIRE(through == 0);
    barrier.arrive_and_wait();
    for (std::thread& thread : threads) thread.join();
    REQUIRE(through == 3);
    latch.count_down();
    joiner.join();
  });
}

VICTIM(SforkLocks, ThreadsCanBeCancelledAndExitInTheChild) {
  static std::atomic<int> cleaned = 0;
  static pthread_t cancelled;
  const auto body = [](void*) -> void* {
    struct Clean {
      ~Clean() { ++cleaned; }
    } clean;
    for (;;) pause();
  };
  REQUIRE(pthread_create(&cancelled, nullptr, body, nullptr) == 0);
  SforkAndCheck(Times(), [] {
    REQUIRE(pthread_cancel(cancelled) == 0);
    void* result = nullptr;
    REQUIRE(pthread_join(cancelled, &result) == 0);
    REQUIRE(result == PTHREAD_CANCELED && cleaned == 1);
  });
}

}  // namespace
}  // namespace spore::victim
