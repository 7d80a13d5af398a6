// Timers of a process: in a child each is there under its id and expires when it would have.
#include <gtest/gtest.h>
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <thread>

#include "tests/sfork/pool.h"
#include "tests/sfork/victim.h"

namespace spore::victim {
namespace {

constexpr timespec kNever{};
constexpr timespec kHour{.tv_sec = 3600, .tv_nsec = 0};
constexpr timespec kMoment{.tv_sec = 0, .tv_nsec = 2'000'000};

// What a handler has seen: how often, and the last.
std::atomic<int> signals_seen = 0;
std::atomic<void*> value_seen = nullptr;
std::atomic<int> timer_seen = -1;
std::atomic<pid_t> thread_seen = 0;

void Handle(int number) {
  struct sigaction action {};
  action.sa_sigaction = [](int, siginfo_t* info, void*) {
    value_seen = info->si_value.sival_ptr;
    timer_seen = info->si_timerid;
    thread_seen = gettid();
    ++signals_seen;
  };
  action.sa_flags = SA_SIGINFO | SA_RESTART;
  REQUIRE(sigaction(number, &action, nullptr) == 0);
}

// Its value is at the address of the id.
void Make(timer_t* timer, int clock, int notify, int number = 0, pid_t thread = 0) {
  sigevent event{};
  event.sigev_notify = notify;
  event.sigev_signo = number;
  event.sigev_value.sival_ptr = timer;
  event._sigev_un._tid = thread;
  REQUIRE(timer_create(clock, &event, timer) == 0);
}

void Set(timer_t timer, const timespec& first, const timespec& interval = kNever) {
  const itimerspec time{.it_interval = interval, .it_value = first};
  REQUIRE(timer_settime(timer, 0, &time, nullptr) == 0);
}

itimerspec Get(timer_t timer) {
  itimerspec time{};
  REQUIRE(timer_gettime(timer, &time) == 0);
  return time;
}

bool IsNearlyAnHour(const timespec& time) {
  return time.tv_sec > 3000 && time.tv_sec < 3600;
}

int KernelId(timer_t timer) {
  return static_cast<int>(reinterpret_cast<intptr_t>(timer));
}

VICTIM(SforkTimers, EveryClockAndStateIsAsItWas) {
  static std::array<timer_t, 3> far;
  static timer_t idle, done;
  const std::array clocks = {CLOCK_MONOTONIC, CLOCK_REALTIME, CLOCK_BOOTTIME};
  for (size_t i = 0; i < far.size(); ++i) {
    Make(&far[i], clocks[i], SIGEV_SIGNAL, SIGUSR1);
    Set(far[i], kHour, {.tv_sec = 7, .tv_nsec = 0});
  }
  Make(&idle, CLOCK_MONOTONIC, SIGEV_SIGNAL, SIGUSR1);
  Make(&done, CLOCK_MONOTONIC, SIGEV_NONE);
  Set(done, {.tv_sec = 0, .tv_nsec = 1});
  WaitUntil([] { return Get(done).it_value.tv_nsec == 0; });
  SforkAndCheck(Times(), [] {
    for (timer_t timer : far) {
      REQUIRE(IsNearlyAnHour(Get(timer).it_value));
      REQUIRE(Get(timer).it_interval.tv_sec == 7);
    }
    REQUIRE(Get(idle).it_value.tv_sec == 0 && Get(idle).it_value.tv_nsec == 0);
    REQUIRE(Get(done).it_value.tv_sec == 0 && Get(done).it_value.tv_nsec == 0);
    Set(idle, kHour);
    REQUIRE(Get(idle).it_value.tv_sec > 3000);
    REQUIRE(timer_delete(far[0]) == 0);
    errno = 0;
    REQUIRE(timer_delete(far[0]) == -1 && errno == EINVAL);
    // A new one takes an id that none of them has.
    timer_t fresh;
    Make(&fresh, CLOCK_MONOTONIC, SIGEV_NONE);
    for (timer_t timer : {far[1], far[2], idle, done}) REQUIRE(fresh != timer);
  });
}

VICTIM(SforkTimers, SignalsComeWithTheirValues) {
  Handle(SIGUSR1);
  static timer_t often, once, silent;
  Make(&often, CLOCK_MONOTONIC, SIGEV_SIGNAL, SIGUSR1);
  Make(&once, CLOCK_REALTIME, SIGEV_SIGNAL, SIGUSR1);
  Make(&silent, CLOCK_MONOTONIC, SIGEV_NONE);
  Set(often, kHour, kMoment);
  static Pool pool(2);
  const FrozenProcess frozen = REQUIRE_VALUE(FrozenProcess::Freeze(Options()));
  SforkAndCheck(frozen, Times(), [] {
    REQUIRE(signals_seen == 0);
    Set(once, kMoment);
    WaitUntil([] { return signals_seen == 1; });
    REQUIRE(value_seen == &once && timer_seen == KernelId(once));
    Set(often, kMoment, kMoment);
    WaitUntil([] { return signals_seen >= 4; });
    REQUIRE(value_seen == &often && timer_seen == KernelId(often));
    Set(silent, kMoment);
    REQUIRE(pool.Run([] { return Get(often).it_interval.tv_nsec; }).get() == kMoment.tv_nsec);
  });
  REQUIRE(signals_seen == 0);
}

// Those that expire while the zygote is frozen do so in each child, and not in the zygote.
VICTIM(SforkTimers, TheyExpireInEachChildAndNotInTheZygote) {
  Handle(SIGUSR1);
  static timer_t often, once;
  Make(&often, CLOCK_MONOTONIC, SIGEV_SIGNAL, SIGUSR1);
  Make(&once, CLOCK_MONOTONIC, SIGEV_SIGNAL, SIGUSR1);
  static Pool pool(1);
  Set(often, kMoment, kMoment);
  Set(once, {.tv_sec = 0, .tv_nsec = 300'000'000});
  {
    const FrozenProcess frozen = REQUIRE_VALUE(FrozenProcess::Freeze(Options()));
    static const int before = signals_seen;
    for (const long pause : {0L, 400'000'000L}) {
      const timespec time{.tv_sec = 0, .tv_nsec = pause};
      nanosleep(&time, nullptr);
      REQUIRE(signals_seen == before);
      SforkAndCheck(frozen, Times() / 2, [] {
        WaitUntil([] { return signals_seen >= before + 3; });
        Set(often, kNever);
        signals_seen = 0;
        WaitUntil([] { return Get(once).it_value.tv_nsec == 0; });
        REQUIRE(Get(once).it_value.tv_sec == 0);
      });
    }
    REQUIRE(signals_seen == before);
  }
  signals_seen = 0;
  WaitUntil([] { return signals_seen >= 3; });  // thawed
}

VICTIM(SforkTimers, IdsHaveGaps) {
  static std::array<timer_t, 60> timers;
  for (timer_t& timer : timers) Make(&timer, CLOCK_MONOTONIC, SIGEV_NONE);
  static const auto is_kept = [](size_t i) { return i % 7 == 3 || i == timers.size() - 1; };
  for (size_t i = 0; i < timers.size(); ++i) {
    if (!is_kept(i)) REQUIRE(timer_delete(timers[i]) == 0);
    if (is_kept(i)) Set(timers[i], kHour, {.tv_sec = static_cast<time_t>(i), .tv_nsec = 0});
  }
  SforkAndCheck(Times(), [] {
    for (size_t i = 0; i < timers.size(); ++i) {
      itimerspec time{};
      REQUIRE((timer_gettime(timers[i], &time) == 0) == is_kept(i));
      if (is_kept(i)) REQUIRE(time.it_interval.tv_sec == static_cast<time_t>(i));
    }
  });
}

VICTIM(SforkTimers, AThreadsTimerIsForTheSameThread) {
  Handle(SIGUSR1);
  static std::array<timer_t, 3> timers;
  static std::array<std::atomic<pid_t>, 3> ids{};
  static std::atomic<int> gate = 0;
  ids[0] = gettid();
  static std::vector<std::thread> threads;
  for (size_t i = 1; i < ids.size(); ++i) {
    threads.emplace_back([i] {
      ids[i] = gettid();
      gate.wait(0);
      ids[i] = gettid();
      gate.wait(1);
    });
    WaitUntil([i] { return ids[i] != 0; });
  }
  for (size_t i = 0; i < ids.size(); ++i)
    Make(&timers[i], CLOCK_MONOTONIC, SIGEV_THREAD_ID, SIGUSR1, ids[i]);
  Set(timers[2], kHour, kHour);
  SforkAndCheck(Times(), [] {
    REQUIRE(IsNearlyAnHour(Get(timers[2]).it_value));
    for (auto& id : ids) id = 0;
    ids[0] = gettid();
    gate = 1;
    gate.notify_all();
    WaitUntil([] { return ids[1] != 0 && ids[2] != 0; });
    for (const size_t i : {1u, 2u, 0u, 1u}) {
      const int before = signals_seen;
      Set(timers[i], kMoment);
      WaitUntil([&] { return signals_seen == before + 1; });
      REQUIRE(thread_seen == ids[i] && value_seen == &timers[i]);
    }
  });
}

// Always about to send: the freeze finds a moment in which none of its signals is on its way.
VICTIM(SforkTimers, AThreadsTimerThatExpiresAllTheTime) {
  Handle(SIGUSR1);
  static timer_t timer;
  static std::atomic<pid_t> id = 0;
  std::thread([] {
    id = gettid();
    for (;;) pause();
  }).detach();
  WaitUntil([] { return id != 0; });
  Make(&timer, CLOCK_MONOTONIC, SIGEV_THREAD_ID, SIGUSR1, id);
  Set(timer, kMoment, kMoment);
  SforkAndCheck(Times(), [] {
    const int before = signals_seen;
    WaitUntil([&] { return signals_seen >= before + 3; });
    REQUIRE(thread_seen != getpid());
  });
}

// glibc has a thread for these, which blocks every signal but one.
VICTIM(SforkTimers, FunctionsAreCalled) {
  static std::array<std::atomic<int>, 3> calls{};  // of each timer
  static timer_t often, once, other;
  static const auto make = [](timer_t* timer, int which) {
    sigevent event{};
    event.sigev_notify = SIGEV_THREAD;
    event.sigev_value.sival_int = which;
    event.sigev_notify_function = [](sigval value) {
      ++calls[static_cast<size_t>(value.sival_int)];
    };
    REQUIRE(timer_create(CLOCK_MONOTONIC, &event, timer) == 0);
  };
  make(&often, 0);
  make(&once, 1);
  Set(often, kHour, kMoment);
  static Pool pool(1);
  const FrozenProcess frozen = REQUIRE_VALUE(FrozenProcess::Freeze(Options()));
  SforkAndCheck(frozen, Times(), [] {
    REQUIRE(IsNearlyAnHour(Get(often).it_value));
    Set(once, kMoment);
    WaitUntil([] { return calls[1] == 1; });
    REQUIRE(calls[0] == 0);
    Set(often, kMoment, kMoment);
    WaitUntil([] { return calls[0] >= 3; });
    REQUIRE(timer_delete(often) == 0);
    // For the same thread, whose id glibc must have right.
    make(&other, 2);
    Set(other, kMoment);
    WaitUntil([] { return calls[2] == 1; });
    // Its signal still does what glibc has it for.
    REQUIRE(setgid(getgid()) == 0);
  });
  for (const auto& count : calls) REQUIRE(count == 0);
}

VICTIM(SforkTimers, FunctionsAreCalledAllTheTime) {
  static std::atomic<int> calls = 0;
  static timer_t timer;
  sigevent event{};
  event.sigev_notify = SIGEV_THREAD;
  event.sigev_notify_function = [](sigval) { ++calls; };
  REQUIRE(timer_create(CLOCK_REALTIME, &event, &timer) == 0);
  Set(timer, kMoment, kMoment);
  for (int i = 0; i < 3; ++i) {
    SforkAndCheck(Times() / 3, [] {
      const int before = calls;
      WaitUntil([&] { return calls >= before + 3; });
    });
    const int before = calls;  // and in the zygote, thawed
    WaitUntil([&] { return calls >= before + 3; });
    REQUIRE(setgid(getgid()) == 0);
  }
}

// It counts what the child itself computes.
VICTIM(SforkTimers, CpuTimeOfTheProcess) {
  Handle(SIGUSR1);
  static timer_t timer;
  Make(&timer, CLOCK_PROCESS_CPUTIME_ID, SIGEV_SIGNAL, SIGUSR1);
  Set(timer, {.tv_sec = 0, .tv_nsec = 150'000'000});  // more than freezing takes
  SforkAndCheck(3, [] {
    REQUIRE(signals_seen == 0);
    while (signals_seen == 0) continue;
    timespec used{};
    REQUIRE(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used) == 0);
    REQUIRE(used.tv_sec > 0 || used.tv_nsec >= 5'000'000);
  });
}

VICTIM(SforkTimers, IntervalTimers) {
  Handle(SIGALRM);
  const itimerval hours{.it_interval = {.tv_sec = 7, .tv_usec = 0},
                        .it_value = {.tv_sec = 3600, .tv_usec = 0}};
  for (const auto which : {ITIMER_REAL, ITIMER_VIRTUAL, ITIMER_PROF})
    REQUIRE(setitimer(which, &hours, nullptr) == 0);
  static Pool pool(1);
  SforkAndCheck(Times(), [] {
    for (const auto which : {ITIMER_REAL, ITIMER_VIRTUAL, ITIMER_PROF}) {
      itimerval time{};
      REQUIRE(getitimer(which, &time) == 0);
      REQUIRE(time.it_value.tv_sec > 3000 && time.it_value.tv_sec <= 3600);
      REQUIRE(time.it_interval.tv_sec == 7);
    }
    REQUIRE(alarm(0) > 3000);
    REQUIRE(ualarm(1000, 0) == 0);
    WaitUntil([] { return signals_seen == 1; });
  });
}

// In a process with one thread, too, and one that expires while the zygote stands still.
VICTIM(SforkTimers, WithoutOtherThreads) {
  Handle(SIGUSR1);
  static std::atomic<int> alarms = 0;
  struct sigaction action {};
  action.sa_handler = [](int) { ++alarms; };
  REQUIRE(sigaction(SIGALRM, &action, nullptr) == 0);
  static timer_t timer;
  Make(&timer, CLOCK_MONOTONIC, SIGEV_SIGNAL, SIGUSR1);
  Set(timer, kMoment, kMoment);
  ualarm(50'000, 0);
  FreezeOptions options = Options();
  options.stop_threads = false;
  const FrozenProcess frozen = REQUIRE_VALUE(FrozenProcess::Freeze(options));
  REQUIRE(frozen.NeedsRevival() && frozen.NotedThreads() == 0);
  SforkAndCheck(frozen, Times(), [] {
    const int before = signals_seen;
    WaitUntil([&] { return alarms == 1 && signals_seen >= before + 3; });
  });
}

}  // namespace
}  // namespace spore::victim
