// Threads in the copy: who they are, what they have, that they work.
#include <gtest/gtest.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/rseq.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>

#include "tests/sfork/pool.h"
#include "tests/sfork/victim.h"
#include "zygote/sfork/audit.h"

namespace spore::victim {
namespace {

VICTIM(SforkThreads, APoolGoesOnInEveryChildAndCanBeJoined) {
  static Pool pool(4);
  REQUIRE(pool.Run([] { return 1; }).get() == 1);
  int child = 0;
  SforkAndCheck(Times(), [&] {
    std::vector<std::future<int>> results;
    for (int i = 0; i < 100; ++i) results.push_back(pool.Run([i] { return i; }));
    int sum = 0;
    for (auto& result : results) sum += result.get();
    REQUIRE(sum == 4950);
    pool.Join();
    WaitUntil([] { return CountThreads().value() == 1; });  // the kernel takes a moment
    REQUIRE(child++ == 0);  // a sibling's count does not reach this one
  });
}

pid_t KernelsId() {
  return static_cast<pid_t>(syscall(SYS_gettid));
}

VICTIM(SforkThreads, EveryThreadKnowsItsOwnId) {
  static Pool pool(3);
  SforkAndCheck(Times(), [] {
    REQUIRE(KernelsId() == getpid());
    for (int i = 0; i < 30; ++i) {
      pool.Run([] {
            // glibc compares its own note of the id with the owner that a mutex records.
            pthread_mutexattr_t attributes;
            pthread_mutexattr_init(&attributes);
            pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_ERRORCHECK);
            pthread_mutex_t mutex;
            pthread_mutex_init(&mutex, &attributes);
            REQUIRE(pthread_mutex_lock(&mutex) == 0);
            REQUIRE(mutex.__data.__owner == KernelsId());
            REQUIRE(pthread_mutex_unlock(&mutex) == 0);
            REQUIRE(KernelsId() != getpid());
          })
          .get();
    }
  });
}

VICTIM(SforkThreads, AThreadHasItsNameAffinityNicenessSlackAndMask) {
  static Pool pool(1);
  pool.Run([] {
        pthread_setname_np(pthread_self(), "odd one");
        cpu_set_t one;
        CPU_ZERO(&one);
        CPU_SET(static_cast<size_t>(sched_getcpu()), &one);
        sched_setaffinity(0, sizeof one, &one);
        setpriority(PRIO_PROCESS, 0, 7);
        const sched_param none{};
        sched_setscheduler(0, SCHED_BATCH, &none);
        prctl(PR_SET_TIMERSLACK, 123456, 0, 0, 0);
        sigset_t set;
        sigemptyset(&set);
        sigaddset(&set, SIGUSR1);
        pthread_sigmask(SIG_BLOCK, &set, nullptr);
      })
      .get();
  SforkAndCheck(Times(), [] {
    pool.Run([] {
          char name[16] = {};
          prctl(PR_GET_NAME, name, 0, 0, 0);
          REQUIRE(std::string(name) == "odd one");
          cpu_set_t set;
          sched_getaffinity(0, sizeof set, &set);
          REQUIRE(CPU_COUNT(&set) == 1);
          REQUIRE(getpriority(PRIO_PROCESS, 0) == 7);
          REQUIRE(sched_getscheduler(0) == SCHED_BATCH);
          REQUIRE(prctl(PR_GET_TIMERSLACK, 0, 0, 0, 0) == 123456);
          sigset_t mask;
          pthread_sigmask(SIG_SETMASK, nullptr, &mask);
          REQUIRE(sigismember(&mask, SIGUSR1) == 1);
          REQUIRE(sigismember(&mask, SIGTERM) == 0);
        })
        .get();
    // The caller has none of it.
    REQUIRE(getpriority(PRIO_PROCESS, 0) == 0);
    sigset_t mask;
    pthread_sigmask(SIG_SETMASK, nullptr, &mask);
    REQUIRE(sigismember(&mask, SIGUSR1) == 0);
  });
}

// Whoever looks before a thread first ran, as `ps -L` or a runtime's own listing may, finds its
// name.
VICTIM(SforkThreads, AThreadIsBornWithItsName) {
  static Pool pool(3);
  pool.Run([] { pthread_setname_np(pthread_self(), "named early"); }).get();
  char name[16] = {};
  prctl(PR_GET_NAME, name, 0, 0, 0);
  static const std::string own = name;
  SforkAndCheck(Times(), [] {
    int named = 0, others = 0;
    for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
      std::string comm;
      std::getline(std::ifstream(task.path() / "comm"), comm);
      ++(comm == "named early" ? named : others);
      if (task.path().filename() == std::to_string(KernelsId())) REQUIRE(comm == own);
    }
    REQUIRE(named == 1);
    REQUIRE(others == 3);
  });
}

VICTIM(SforkThreads, RseqAndTheRobustListAreRegistered) {
  static Pool pool(2);
  static const auto check = [] {
    if (__rseq_size != 0) {
      auto* area = static_cast<char*>(__builtin_thread_pointer()) + __rseq_offset;
      // The kernel's answer to a second registration of what it has (rseq(2)): busy when equal.
      for (const uint32_t length : {32u, 64u}) {
        REQUIRE(syscall(SYS_rseq, area, length, 0, RSEQ_SIG) == -1);
        REQUIRE(errno == EBUSY || errno == EINVAL);
      }
      REQUIRE(reinterpret_cast<struct rseq*>(area)->cpu_id < 4096);
      // It keeps the number up to date.
      cpu_set_t old, one;
      sched_getaffinity(0, sizeof old, &old);
      for (size_t cpu = 0; cpu < 64; ++cpu) {
        if (!CPU_ISSET(cpu, &old)) continue;
        CPU_ZERO(&one);
        CPU_SET(cpu, &one);
        REQUIRE(sched_setaffinity(0, sizeof one, &one) == 0);
        REQUIRE(reinterpret_cast<volatile struct rseq*>(area)->cpu_id == cpu);
      }
    }
    void* head = nullptr;
    size_t size = 0;
    REQUIRE(syscall(SYS_get_robust_list, 0, &head, &size) == 0);
    REQUIRE(head != nullptr && size == 24);
  };
  SforkAndCheck(Times(), [] {
    check();
    pool.Run(check).get();
    pool.Run(check).get();
  });
}

// The stack for signals is the kernel's business: sigaltstack(2) tells what it knows.
VICTIM(SforkThreads, AnAlternateSignalStackIsThereAndWorks) {
  static Pool pool(1);
  static std::array<char, 65536> stack;
  pool.Run([] {
        const stack_t own{.ss_sp = stack.data(), .ss_flags = 0, .ss_size = stack.size()};
        sigaltstack(&own, nullptr);
        struct sigaction action {};
        action.sa_flags = SA_ONSTACK;
        action.sa_handler = [](int) {
          char here;
          const bool inside = &here >= stack.data() && &here < stack.data() + stack.size();
          if (!inside) _exit(44);
        };
        sigaction(SIGUSR2, &action, nullptr);
      })
      .get();
  SforkAndCheck(Times(), [] {
    pool.Run([] {
          stack_t known{};
          sigaltstack(nullptr, &known);
          REQUIRE(known.ss_sp == stack.data() && known.ss_size == stack.size());
          REQUIRE(known.ss_flags == 0);
          raise(SIGUSR2);
        })
        .get();
  });
}

thread_local int tls_number = 5;
thread_local std::string tls_text = "initial";

VICTIM(SforkThreads, ThreadLocalStorageIsEachThreadsOwn) {
  static std::array<std::atomic<int>, 8> turns{};
  static std::atomic<int> done = 0;
  static std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([i] {
      tls_number = 100 + i;
      tls_text = "thread " + std::to_string(i);
      turns[static_cast<size_t>(i)].wait(0);
      REQUIRE(tls_number == 100 + i);
      REQUIRE(tls_text == "thread " + std::to_string(i));
      ++done;
      done.notify_all();
    });
  }
  tls_number = 99;
  SforkAndCheck(Times(), [] {
    REQUIRE(tls_number == 99);
    for (auto& turn : turns) {
      turn = 1;
      turn.notify_all();
    }
    for (std::thread& thread : threads) thread.join();
    REQUIRE(done == 8);
    std::thread([] { REQUIRE(tls_number == 5 && tls_text == "initial"); }).join();
  });
}

int Deep(int depth, std::atomic<int>& gate) {
  volatile char frame[512];
  memset(const_cast<char*>(frame), depth & 127, sizeof frame);
  if (depth == 0) {
    gate.wait(0);
    return 0;
  }
  const int below = Deep(depth - 1, gate);
  for (volatile char& c : frame) REQUIRE(c == (depth & 127));
  return below + 1;
}

VICTIM(SforkThreads, DeepStacksComeBackIntact) {
  static std::atomic<int> gate = 0;
  static std::array<std::atomic<int>, 3> results{};
  static std::vector<std::thread> threads;
  for (size_t i = 0; i < 3; ++i) threads.emplace_back([i] { results[i] = Deep(1000, gate); });
  SforkAndCheck(Times(), [] {
    gate = 1;
    gate.notify_all();
    for (std::thread& thread : threads) thread.join();
    for (const auto& result : results) REQUIRE(result == 1000);
  });
}

// A thread that sleeps in a destructor, while an exception unwinds its stack.
VICTIM(SforkThreads, AnExceptionInFlightElsewhereArrives) {
  static std::atomic<int> gate = 0;
  static std::atomic<bool> caught = false;
  struct SleepsWhenDestroyed {
    ~SleepsWhenDestroyed() { gate.wait(0); }
  };
  static std::thread thread([] {
    try {
      const SleepsWhenDestroyed sleeper;
      throw std::runtime_error("in flight");
    } catch (const std::runtime_error& error) {
      caught = std::string(error.what()) == "in flight" && std::uncaught_exceptions() == 0;
    }
  });
  SforkAndCheck(Times(), [] {
    try {
      throw 7;
    } catch (int seven) {
      REQUIRE(seven == 7);
    }
    gate = 1;
    gate.notify_all();
    thread.join();
    REQUIRE(caught);
  });
}

VICTIM(SforkThreads, TheCallerNeedNotBeTheFirstThread) {
  static std::atomic<int> gate = 0;
  static const pthread_t first = pthread_self();
  static std::atomic<pid_t> firsts_id = 0;
  static std::atomic<bool> checked = false;
  std::thread caller([] {
    SforkAndCheck(Times(), [] {
      REQUIRE(KernelsId() == getpid());
      REQUIRE(!pthread_equal(pthread_self(), first));
      gate = 1;
      gate.notify_all();
      WaitUntil([] { return firsts_id != 0; });
      REQUIRE(firsts_id != getpid());
      REQUIRE(pthread_kill(first, 0) == 0);
    });
    checked = true;
    gate = 2;
    gate.notify_all();
  });
  gate.wait(0);
  if (!checked) {  // in a child: the process's first thread, an ordinary one now
    firsts_id = KernelsId();
    for (;;) pause();
  }
  caller.join();
}

// The kernel keeps an entry of a first thread that has ended until its process ends.
VICTIM(SforkThreads, TheFirstThreadMayHaveEnded) {
  static Pool pool(2);
  static const pthread_t first = pthread_self();
  std::thread([] {
    REQUIRE(pthread_join(first, nullptr) == 0);
    static const int counter = eventfd(4, EFD_CLOEXEC);
    SforkAndCheck(Times(), [] {
      eventfd_t value = 0;
      REQUIRE(eventfd_read(counter, &value) == 0 && value == 4);
      REQUIRE(KernelsId() == getpid());
      REQUIRE(pool.Run([] { return 5; }).get() == 5);
      pool.Join();
      WaitUntil([] { return CountThreads().value() == 1; });  // the kernel takes a moment
    });
    eventfd_t value = 0;
    REQUIRE(eventfd_read(counter, &value) == 0 && value == 4);
    REQUIRE(mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0) !=
            MAP_FAILED);
    REQUIRE(!FrozenProcess::Freeze(Options()));  // it looks at this memory, too
    _exit(0);
  }).detach();
  syscall(SYS_exit, 0);  // pthread_exit would unwind the test program
}

VICTIM(SforkThreads, TwoHundredThreads) {
  static Pool pool(200);
  SforkAndCheck(10, [] {
    static std::mutex mutex;
    static std::set<pid_t> ids;
    static std::atomic<int> met = 0;
    std::vector<std::future<void>> all;
    for (int i = 0; i < 200; ++i) {
      all.push_back(pool.Run([] {
        {
          const std::lock_guard lock(mutex);
          ids.insert(KernelsId());
        }
        // Each waits for all the others, so that no thread can do it for two.
        if (++met == 200) met.notify_all();
        for (int seen = met; seen < 200; seen = met) met.wait(seen);
      }));
    }
    for (auto& one : all) one.get();
    REQUIRE(ids.size() == 200);
    REQUIRE(CountThreads().value() == 201);
    pool.Join();
  });
}

VICTIM(SforkThreads, AChildCanMakeThreadsAndEndThem) {
  static Pool pool(2);
  SforkAndCheck(Times(), [] {
    std::atomic<int> sum = 0;
    std::vector<std::thread> fresh;
    for (int i = 0; i < 10; ++i)
      fresh.emplace_back([&] { sum += pool.Run([] { return 2; }).get(); });
    for (std::thread& thread : fresh) thread.join();
    REQUIRE(sum == 20);
    // pthread_exit by the caller ends the process only with its last thread.
    pool.Join();
  });
}

VICTIM(SforkThreads, AZygoteThatThawsGoesOn) {
  static Pool pool(4);
  for (int i = 0; i < 5; ++i) {
    SforkAndCheck(3, [] { REQUIRE(pool.Run([] { return 3; }).get() == 3); });
    REQUIRE(pool.Run([] { return 4; }).get() == 4);
  }
  pool.Join();
}

VICTIM(SforkThreads, AChildCanBeFrozenInItsTurn) {
  static Pool pool(3);
  SforkAndCheck(5, [] {
    REQUIRE(pool.Run([] { return 1; }).get() == 1);
    SforkAndCheck(5, [] {
      REQUIRE(pool.Run([] { return 2; }).get() == 2);
      pool.Join();
    });
  });
}

VICTIM(SforkThreads, TheAuditSeesANewThread) {
  static Pool pool(2);
  const FrozenProcess frozen = REQUIRE_VALUE(FrozenProcess::Freeze(Options()));
  REQUIRE(frozen.NotedThreads() == 2);
  REQUIRE(frozen.Audit(0));
  std::atomic<int> gate = 0;
  std::thread stray([&] { gate.wait(0); });
  REQUIRE(!frozen.Audit(0));
  REQUIRE(!frozen.Clone({}, nullptr));
  gate = 1;
  gate.notify_all();
  stray.join();
}

}  // namespace
}  // namespace spore::victim
