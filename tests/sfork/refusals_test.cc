// What cannot be copied is refused, and named.
#include <dlfcn.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <link.h>
#include <linux/io_uring.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "tests/sfork/victim.h"
#include "zygote/sfork/freeze_signal.h"

namespace spore::victim {
namespace {

testing::AssertionResult Says(const std::string& message, const std::vector<std::string>& parts) {
  for (const std::string& part : parts) {
    if (message.find(part) == std::string::npos)
      return testing::AssertionFailure() << "no '" << part << "' in: " << message;
  }
  return testing::AssertionSuccess();
}

// A thread that has done `what` and sleeps for good.
void WithThread(const char* name, const std::function<void()>& what) {
  static std::atomic<bool> done = false;
  std::thread([&] {
    pthread_setname_np(pthread_self(), name);
    what();
    done = true;
    for (;;) pause();
  }).detach();
  WaitUntil([] { return done.load(); });
}

TEST(SforkRefusals, NothingUnusual) {
  EXPECT_EQ(Refusal([] { WithThread("quiet", [] {}); }), "");
}

// ---- threads ----

TEST(SforkRefusals, AThreadThatRuns) {
  EXPECT_TRUE(Says(Refusal([] {
                     std::thread([] {
                       pthread_setname_np(pthread_self(), "spinner");
                       for (std::atomic<long> i = 0;; ++i) continue;
                     }).detach();
                   }),
                   {"(spinner)", "runs"}));
}

TEST(SforkRefusals, AThreadInACallThatCannotBeMadeAgain) {
  EXPECT_TRUE(Says(Refusal([] {
                     static int ends[2];
                     REQUIRE(pipe2(ends, O_CLOEXEC) == 0);
                     std::thread([] {
                       pthread_setname_np(pthread_self(), "writer");
                       static char much[1 << 20];
                       (void)!write(ends[1], much, sizeof much);
                     }).detach();
                   }),
                   {"(writer)", "in write,"}));
}

TEST(SforkRefusals, AThreadThatBlocksTheFreezeSignalBehindOurBack) {
  EXPECT_TRUE(Says(Refusal([] {
                     WithThread("deaf", [] {
                       const uint64_t all = ~uint64_t{0};
                       syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, nullptr, sizeof all);
                     });
                   }),
                   {"(deaf)", "blocks the freeze signal"}));
}

TEST(SforkRefusals, ThreadsAtAllWhenTheyAreNotToBeStopped) {
  EXPECT_EQ(Outcome([] {
              WithThread("second", [] {});
              FreezeOptions options = Options();
              options.stop_threads = false;
              const Result<FrozenProcess> frozen = FrozenProcess::Freeze(options);
              REQUIRE(!frozen);
              REQUIRE(frozen.error().Message().find("second") != std::string::npos);
            }),
            "");
}

TEST(SforkRefusals, AMorePrivilegedThread) {
  EXPECT_TRUE(Says(Refusal([] {
                     setpriority(PRIO_PROCESS, 0, 3);
                     WithThread("nicer", [] { setpriority(PRIO_PROCESS, 0, 3); });
                     setpriority(PRIO_PROCESS, 0, 9);
                   }),
                   {"(nicer)", "nice"}));
}

TEST(SforkRefusals, AThreadWithASignalPending) {
  EXPECT_TRUE(Says(Refusal([] {
                     WithThread("pending", [] {
                       sigset_t set;
                       sigemptyset(&set);
                       sigaddset(&set, SIGUSR1);
                       pthread_sigmask(SIG_BLOCK, &set, nullptr);
                       raise(SIGUSR1);
                     });
                   }),
                   {"(pending)", "signals pending"}));
}

// The callback of dl_iterate_phdr(3) runs under the loader's lock.
TEST(SforkRefusals, AThreadThatSleepsInsideTheLoader) {
  EXPECT_TRUE(Says(Refusal([] {
                     static std::atomic<bool> inside = false;
                     std::thread([] {
                       const auto sleep = [](dl_phdr_info*, size_t, void*) {
                         inside = true;
                         for (;;) pause();
                         return 0;
                       };
                       dl_iterate_phdr(sleep, nullptr);
                     }).detach();
                     WaitUntil([] { return inside.load(); });
                   }),
                   {"the dynamic loader's lock"}));
}

// ---- descriptors ----

TEST(SforkRefusals, Descriptors) {
  const auto refusal = [](const std::function<int()>& make) {
    return Refusal([&] { REQUIRE(make() >= 0); });
  };
  EXPECT_TRUE(Says(refusal([] { return open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600); }),
                   {"/tmp", "open for writing"}));
  EXPECT_TRUE(Says(refusal([] { return memfd_create("victim", MFD_CLOEXEC); }), {"memfd:victim"}));
  EXPECT_TRUE(
      Says(refusal([] { return socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0); }), {"socket:["}));
  EXPECT_TRUE(Says(refusal([] { return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0); }),
                   {"not connected"}));
  EXPECT_TRUE(Says(refusal([] { return static_cast<int>(syscall(SYS_pidfd_open, getpid(), 0)); }),
                   {"pidfd"}));
  EXPECT_TRUE(Says(refusal([] {
                     const int fd = inotify_init1(IN_CLOEXEC);
                     REQUIRE(inotify_add_watch(fd, "/tmp", IN_CREATE) > 0);
                     return fd;
                   }),
                   {"inotify", "watches files"}));
  EXPECT_TRUE(Says(refusal([] {
                     io_uring_params parameters{};
                     return static_cast<int>(syscall(SYS_io_uring_setup, 4, &parameters));
                   }),
                   {"io_uring", "UV_USE_IO_URING"}));
  EXPECT_TRUE(Says(refusal([] {
                     int pair[2];
                     REQUIRE(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, pair) == 0);
                     return pair[0];
                   }),
                   {"leads out of the process"}));
}

TEST(SforkRefusals, AnEndWhoseOtherIsOutside) {
  int ends[2], pair[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
  // The victim is forked from here, so each end that it closes is open elsewhere.
  const auto close_all_but = [&](int kept) {
    for (const int fd : {ends[0], ends[1], pair[0], pair[1]})
      if (fd != kept) close(fd);
  };
  EXPECT_TRUE(Says(Refusal([&] { close_all_but(ends[0]); }), {"pipe:["}));
  EXPECT_TRUE(Says(Refusal([&] { close_all_but(ends[1]); }), {"pipe:["}));
  EXPECT_TRUE(Says(Refusal([&] { close_all_but(pair[0]); }), {"socket:["}));
  close_all_but(-1);
}

TEST(SforkRefusals, AnEpollSetThatWatchesWhatIsGoneOrNotTheRuntimes) {
  EXPECT_TRUE(Says(Refusal([] {
                     const int set = epoll_create1(EPOLL_CLOEXEC), fd = eventfd(0, EFD_CLOEXEC);
                     epoll_event event{};
                     event.events = EPOLLIN;
                     REQUIRE(epoll_ctl(set, EPOLL_CTL_ADD, fd, &event) == 0);
                     REQUIRE(fcntl(fd, F_DUPFD_CLOEXEC, 100) >= 100);
                     close(fd);
                   }),
                   {"and is it no more"}));
}

TEST(SforkRefusals, ASocketThatCarriesADescriptor) {
  EXPECT_TRUE(Says(Refusal([] {
                     int pair[2];
                     REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
                     char byte = 'x';
                     iovec part{.iov_base = &byte, .iov_len = 1};
                     alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
                     msghdr message{};
                     message.msg_iov = &part;
                     message.msg_iovlen = 1;
                     message.msg_control = control;
                     message.msg_controllen = sizeof control;
                     cmsghdr* header = CMSG_FIRSTHDR(&message);
                     header->cmsg_level = SOL_SOCKET;
                     header->cmsg_type = SCM_RIGHTS;
                     header->cmsg_len = CMSG_LEN(sizeof(int));
                     *reinterpret_cast<int*>(CMSG_DATA(header)) = 0;
                     REQUIRE(sendmsg(pair[0], &message, 0) == 1);
                   }),
                   {"message with descriptors"}));
}

// ---- memory, timers, children ----

TEST(SforkRefusals, MemoryThatWouldBeSharedOrMissing) {
  EXPECT_TRUE(Says(Refusal([] {
                     mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
                   }),
                   {"shared and can be written"}));
  EXPECT_TRUE(Says(Refusal([] {
                     void* page = mmap(nullptr, 4096, PROT_READ | PROT_WRITE,
                                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
                     syscall(SYS_madvise, page, 4096, MADV_DONTFORK);
                   }),
                   {"MADV_DONTFORK"}));
}

// The error of a freeze in a process with this timer.
std::string TimerRefusal(int clock, sigevent event) {
  return Refusal([=] {
    // Raw: glibc handles SIGEV_THREAD itself.
    sigevent raw = event;
    int id = 0;
    REQUIRE(syscall(SYS_timer_create, clock, &raw, &id) == 0);
  });
}

TEST(SforkRefusals, TimersThatAChildCouldNotHave) {
  sigevent event{};
  event.sigev_notify = SIGEV_SIGNAL;
  event.sigev_signo = SIGUSR1;
  EXPECT_EQ(TimerRefusal(CLOCK_MONOTONIC, event), "");
  EXPECT_TRUE(Says(TimerRefusal(CLOCK_THREAD_CPUTIME_ID, event), {"POSIX timer 0", "by clock -2"}));
  EXPECT_TRUE(Says(Refusal([&] {
                     clockid_t clock = 0;
                     REQUIRE(pthread_getcpuclockid(pthread_self(), &clock) == 0);
                     timer_t timer;
                     REQUIRE(timer_create(clock, &event, &timer) == 0);
                   }),
                   {"POSIX timer 0", "by clock -"}));
  event.sigev_notify = SIGEV_THREAD;
  EXPECT_TRUE(Says(TimerRefusal(CLOCK_MONOTONIC, event), {"POSIX timer 0", "not known"}));
  event.sigev_notify = SIGEV_SIGNAL;
  event.sigev_signo = kFreezeSignal;
  EXPECT_TRUE(Says(TimerRefusal(CLOCK_MONOTONIC, event), {"POSIX timer 0", "sends signal 60"}));
}

TEST(SforkRefusals, ATimerThatCallsAFunctionMadeBehindOurBack) {
  EXPECT_TRUE(Says(Refusal([] {
                     const auto glibcs = reinterpret_cast<decltype(&timer_create)>(
                         dlsym(RTLD_NEXT, "timer_create"));
                     sigevent event{};
                     event.sigev_notify = SIGEV_THREAD;
                     event.sigev_notify_function = [](sigval) {};
                     timer_t timer;
                     REQUIRE(glibcs(CLOCK_MONOTONIC, &event, &timer) == 0);
                   }),
                   {"blocks the freeze signal"}));
}

TEST(SforkRefusals, ATimerForAThreadThatHasEnded) {
  EXPECT_TRUE(Says(Refusal([] {
                     std::thread([] {
                       sigevent event{};
                       event.sigev_notify = SIGEV_THREAD_ID;
                       event.sigev_signo = SIGUSR1;
                       event._sigev_un._tid = gettid();
                       timer_t timer;
                       REQUIRE(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0);
                     }).join();
                   }),
                   {"POSIX timer 0", "has ended"}));
}

TEST(SforkRefusals, TooManyTimersOrTooHighIds) {
  const auto make = [](size_t count, size_t keep) {
    sigevent event{};
    event.sigev_notify = SIGEV_NONE;
    for (size_t i = 0; i < count; ++i) {
      timer_t timer;
      REQUIRE(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0);
      if (i + keep < count) REQUIRE(timer_delete(timer) == 0);
    }
  };
  EXPECT_EQ(Refusal([&] { make(1024, 32); }), "");
  EXPECT_TRUE(Says(Refusal([&] { make(33, 33); }), {"more POSIX timers than 32"}));
  EXPECT_TRUE(Says(Refusal([&] { make(1025, 1); }), {"POSIX timer 1024", "higher id than 1023"}));
}

TEST(SforkRefusals, ATimersSignalThatNobodyTakes) {
  EXPECT_TRUE(Says(Refusal([] {
                     sigset_t set;
                     sigemptyset(&set);
                     sigaddset(&set, SIGALRM);
                     REQUIRE(pthread_sigmask(SIG_BLOCK, &set, nullptr) == 0);
                     WithThread("second", [] {});
                     timer_t timer;
                     REQUIRE(timer_create(CLOCK_MONOTONIC, nullptr, &timer) == 0);
                     const itimerspec soon{.it_interval = {}, .it_value = {0, 1}};
                     REQUIRE(timer_settime(timer, 0, &soon, nullptr) == 0);
                     WaitUntil([&] { return sigpending(&set), sigismember(&set, SIGALRM) == 1; });
                   }),
                   {"signal 14 is pending"}));
}

TEST(SforkRefusals, Children) {
  EXPECT_TRUE(Says(Refusal([] {
                     const pid_t parent = getpid();
                     if (fork() == 0) {
                       prctl(PR_SET_PDEATHSIG, SIGKILL);
                       while (getppid() == parent) pause();
                       _exit(0);
                     }
                   }),
                   {"children of its own"}));
  EXPECT_TRUE(Says(Refusal([] {
                     const pid_t pid = fork();
                     if (pid == 0) _exit(0);
                     siginfo_t info;
                     REQUIRE(waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOWAIT) == 0);
                   }),
                   {"has ended"}));
}

TEST(SforkRefusals, AFreezeThatFailedLeavesEverythingAsItWas) {
  EXPECT_EQ(Outcome([] {
              static std::atomic<int> gate = 0;
              std::thread thread([] { gate.wait(0); });
              const int pid_descriptor = static_cast<int>(syscall(SYS_pidfd_open, getpid(), 0));
              REQUIRE(!FrozenProcess::Freeze(Options()));
              close(pid_descriptor);
              {
                const FrozenProcess frozen = REQUIRE_VALUE(FrozenProcess::Freeze(Options()));
                REQUIRE(!FrozenProcess::Freeze(Options()));  // once at a time
              }
              gate = 1;
              gate.notify_all();
              thread.join();
            }),
            "");
}

}  // namespace
}  // namespace spore::victim
