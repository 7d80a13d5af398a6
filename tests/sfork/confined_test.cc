// Threads made again in a child that has confined itself first: another uid, no capability, the
// long and the final seccomp program, low limits. Needs root.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>

#include "sandbox/policy/seccomp_program.h"
#include "sandbox/steps/step.h"
#include "tests/sfork/pool.h"
#include "tests/sfork/victim.h"
#include "zygote/sfork/proc_text.h"

namespace spore::victim {
namespace {

constexpr uid_t kSomebody = 54321;

void Must(const StepResult& result) {
  if (!result.ok()) Fail(__FILE__, __LINE__, result.operation, strerror(result.errno_value));
}

// As the hosts do it (zygote/hosts).
void ConfineSelf(const SeccompProgram& final_program) {
  Must(LimitResources({.open_files = 64, .file_size_bytes = 1 << 20}));
  Must(LimitBoundingSet(0));
  Must(LockSecurebits());
  Must(TakeIdentity(kSomebody, true));
  Must(SetCapabilities(0));
  Must(SetNoNewPrivs());
  REQUIRE(LoadSeccompProgram(final_program) == 0);
}

// As in a zygote: the long program is there before the freeze, in every thread.
void LoadBaseProgram() {
  const SeccompProgram base = REQUIRE_VALUE(CompileBaseProgram());
  sock_fprog loaded{.len = static_cast<unsigned short>(base.instructions.size()),
                    .filter = const_cast<sock_filter*>(base.instructions.data())};
  REQUIRE(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
  REQUIRE(syscall(SYS_seccomp, 1 /* SET_MODE_FILTER */, 1 /* TSYNC */, &loaded) == 0);
}

// "Seccomp_filters:\t2" and the like, of the calling thread.
std::string StatusLine(const ProcText& status, std::string_view name) {
  const size_t at = status.view().find(name);
  const size_t end = status.view().find('\n', at);
  return at == std::string_view::npos ? "" : std::string(status.view().substr(at, end - at));
}

void CheckConfined(int filters) {
  uid_t real = 0, effective = 0, saved = 0;
  getresuid(&real, &effective, &saved);
  REQUIRE(real == kSomebody && effective == kSomebody && saved == kSomebody);
  ProcText status;
  REQUIRE(status.ReadTask(static_cast<pid_t>(syscall(SYS_gettid)), "status"));
  for (const char* set : {"CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"})
    REQUIRE(status.Mask(set) == 0);
  REQUIRE(StatusLine(status, "NoNewPrivs") == "NoNewPrivs:\t1");
  REQUIRE(StatusLine(status, "Seccomp_filters") == "Seccomp_filters:\t" + std::to_string(filters));
  REQUIRE(StatusLine(status, "Groups:").find_first_of("0123456789") == std::string::npos);
  // The final program's answer.
  errno = 0;
  REQUIRE(syscall(SYS_setresuid, 1, 1, 1) == -1 && errno == EPERM);
  errno = 0;
  REQUIRE(syscall(SYS_clone3, nullptr, 0) == -1 && errno == ENOSYS);
}

VICTIM(SforkConfined, EveryThreadIsBornWithTheCallersConfinement) {
  REQUIRE(geteuid() == 0);
  static Pool pool(3);
  pool.Run([] {
        // Every attribute that a thread gives itself again.
        const sched_param none{};
        sched_setscheduler(0, SCHED_BATCH, &none);
        setpriority(PRIO_PROCESS, 0, 5);
        prctl(PR_SET_TIMERSLACK, 77777, 0, 0, 0);
        prctl(PR_SET_NAME, "confined one", 0, 0, 0);
        cpu_set_t one;
        CPU_ZERO(&one);
        CPU_SET(static_cast<size_t>(sched_getcpu()), &one);
        sched_setaffinity(0, sizeof one, &one);
      })
      .get();
  LoadBaseProgram();
  const SeccompProgram final_program = REQUIRE_VALUE(CompileFinalProgram(NetworkPolicy()));
  const FrozenProcess frozen = REQUIRE_VALUE(FrozenProcess::Freeze(Options()));
  CloneAndCheck(frozen, Times(), [&] {
    Must(frozen.Adopt());
    Must(frozen.RenewDescriptors());
    ConfineSelf(final_program);
    Must(frozen.ReviveThreads());
    CheckConfined(2);
    static std::atomic<int> met = 0;
    std::vector<std::future<void>> all;
    for (int worker = 0; worker < 3; ++worker) {
      all.push_back(pool.Run([] {
        CheckConfined(2);
        if (++met == 3) met.notify_all();
        for (int seen = met; seen < 3; seen = met) met.wait(seen);
      }));
    }
    for (auto& one : all) one.get();
    std::thread([] { CheckConfined(2); }).join();
    pool.Join();
  });
}

// One for the process, one for a thread, one that calls a function; and the oldest kind.
VICTIM(SforkConfined, TimersGoOn) {
  static Pool pool(1);
  static std::atomic<int> signals = 0, calls = 0, alarms = 0;
  static std::atomic<pid_t> taker = 0;
  struct sigaction action {};
  action.sa_handler = [](int) {
    taker = gettid();
    ++signals;
  };
  action.sa_flags = SA_RESTART;
  REQUIRE(sigaction(SIGUSR1, &action, nullptr) == 0);
  action.sa_handler = [](int) { ++alarms; };
  REQUIRE(sigaction(SIGALRM, &action, nullptr) == 0);
  static timer_t timers[3];
  sigevent event{};
  event.sigev_notify = SIGEV_SIGNAL;
  event.sigev_signo = SIGUSR1;
  REQUIRE(timer_create(CLOCK_MONOTONIC, &event, &timers[0]) == 0);
  REQUIRE(timer_delete(timers[0]) == 0);  // a gap
  REQUIRE(timer_create(CLOCK_REALTIME, &event, &timers[0]) == 0);
  event.sigev_notify = SIGEV_THREAD_ID;
  event._sigev_un._tid = pool.Run([] { return gettid(); }).get();
  REQUIRE(timer_create(CLOCK_MONOTONIC, &event, &timers[1]) == 0);
  event = {};
  event.sigev_notify = SIGEV_THREAD;
  event.sigev_notify_function = [](sigval) {
    CheckConfined(2);
    ++calls;
  };
  REQUIRE(timer_create(CLOCK_BOOTTIME, &event, &timers[2]) == 0);
  static const itimerspec hour{.it_interval = {}, .it_value = {.tv_sec = 3600, .tv_nsec = 0}};
  for (timer_t timer : timers) REQUIRE(timer_settime(timer, 0, &hour, nullptr) == 0);
  alarm(3600);
  LoadBaseProgram();
  const SeccompProgram final_program = REQUIRE_VALUE(CompileFinalProgram(NetworkPolicy()));
  const FrozenProcess frozen = REQUIRE_VALUE(FrozenProcess::Freeze(Options()));
  CloneAndCheck(frozen, Times(), [&] {
    Must(frozen.Adopt());
    Must(frozen.RenewDescriptors());
    ConfineSelf(final_program);
    Must(LimitFixedResources());
    Must(frozen.ReviveThreads());
    const itimerspec soon{.it_interval = {}, .it_value = {.tv_sec = 0, .tv_nsec = 1'000'000}};
    for (timer_t timer : timers) {
      itimerspec left{};
      REQUIRE(timer_gettime(timer, &left) == 0);
      REQUIRE(left.it_value.tv_sec > 3000 && left.it_value.tv_sec < 3600);
    }
    REQUIRE(timer_settime(timers[2], 0, &soon, nullptr) == 0);
    WaitUntil([] { return calls == 1; });
    REQUIRE(timer_settime(timers[0], 0, &soon, nullptr) == 0);
    WaitUntil([] { return signals == 1; });
    REQUIRE(timer_settime(timers[1], 0, &soon, nullptr) == 0);
    WaitUntil([] { return signals == 2; });
    REQUIRE(taker == pool.Run([] { return gettid(); }).get());
    REQUIRE(ualarm(1000, 0) > 3'000'000);
    WaitUntil([] { return alarms == 1; });
  });
}

VICTIM(SforkConfined, TooLowALimitOnProcessesIsAnError) {
  static Pool pool(8);
  const FrozenProcess frozen = REQUIRE_VALUE(FrozenProcess::Freeze(Options()));
  CloneAndCheck(frozen, 1, [&] {
    Must(frozen.Adopt());
    const rlimit few{3, 3};
    REQUIRE(setrlimit(RLIMIT_NPROC, &few) == 0);
    Must(TakeIdentity(kSomebody, true));
    const StepResult revived = frozen.ReviveThreads();
    REQUIRE(!revived.ok() && revived.errno_value == EAGAIN);
  });
}

}  // namespace
}  // namespace spore::victim
