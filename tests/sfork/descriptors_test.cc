// Descriptors of the runtime's own in the copy: the same numbers, flags and contents, shared with
// nobody.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <thread>

#include "tests/sfork/pool.h"
#include "tests/sfork/victim.h"
#include "zygote/sfork/audit.h"

namespace spore::victim {
namespace {

std::string ReadText(int fd) {
  char text[256];
  const ssize_t got = read(fd, text, sizeof text);
  return {text, got > 0 ? static_cast<size_t>(got) : 0};
}
void WriteText(int fd, std::string_view text) {
  REQUIRE(write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size()));
}
bool IsReadable(int fd) {
  pollfd look{.fd = fd, .events = POLLIN, .revents = 0};
  return poll(&look, 1, 0) == 1;
}

VICTIM(SforkDescriptors, EventfdsKeepCountAndKindAndAreEachChildsOwn) {
  static const int plain = eventfd(5, EFD_CLOEXEC);
  static const int semaphore = eventfd(3, EFD_CLOEXEC | EFD_SEMAPHORE | EFD_NONBLOCK);
  static const int survives = eventfd(0, EFD_NONBLOCK);  // an exec
  static const int large = eventfd(0, EFD_CLOEXEC);
  REQUIRE(eventfd_write(large, 1ull << 40) == 0);
  SforkAndCheck(Times(), [] {
    eventfd_t value = 0;
    REQUIRE(eventfd_read(plain, &value) == 0 && value == 5);
    REQUIRE(eventfd_read(large, &value) == 0 && value == 1ull << 40);
    for (int i = 0; i < 3; ++i) REQUIRE(eventfd_read(semaphore, &value) == 0 && value == 1);
    REQUIRE(eventfd_read(semaphore, &value) == -1 && errno == EAGAIN);
    REQUIRE(eventfd_read(survives, &value) == -1 && errno == EAGAIN);
    REQUIRE(fcntl(plain, F_GETFD) == FD_CLOEXEC && fcntl(survives, F_GETFD) == 0);
    REQUIRE((fcntl(plain, F_GETFL) & O_NONBLOCK) == 0);
    REQUIRE(eventfd_write(plain, 77) == 0);  // no sibling finds it
  });
  eventfd_t value = 0;
  REQUIRE(eventfd_read(plain, &value) == 0 && value == 5);
}

VICTIM(SforkDescriptors, DuplicatesStayDuplicates) {
  static const int first = eventfd(1, EFD_CLOEXEC);
  static const int second = fcntl(first, F_DUPFD_CLOEXEC, 50);
  static const int other = eventfd(1, EFD_CLOEXEC);
  REQUIRE(SameDescription(first, second) && !SameDescription(first, other));
  SforkAndCheck(Times(), [] {
    REQUIRE(SameDescription(first, second) && !SameDescription(first, other));
    REQUIRE(eventfd_write(first, 1) == 0);
    eventfd_t value = 0;
    REQUIRE(eventfd_read(second, &value) == 0 && value == 2);
    REQUIRE(eventfd_read(other, &value) == 0 && value == 1);
  });
}

VICTIM(SforkDescriptors, TimerfdsExpireWhenTheyWouldHave) {
  static const int far = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
  static const int periodic = timerfd_create(CLOCK_REALTIME, TFD_CLOEXEC | TFD_NONBLOCK);
  static const int idle = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
  static const int expired = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
  const itimerspec hour{.it_interval = {}, .it_value = {.tv_sec = 3600, .tv_nsec = 0}};
  const itimerspec often{.it_interval = {.tv_sec = 0, .tv_nsec = 2'000'000},
                         .it_value = {.tv_sec = 0, .tv_nsec = 2'000'000}};
  const itimerspec once{.it_interval = {}, .it_value = {.tv_sec = 0, .tv_nsec = 1}};
  REQUIRE(timerfd_settime(far, 0, &hour, nullptr) == 0);
  REQUIRE(timerfd_settime(periodic, 0, &often, nullptr) == 0);
  REQUIRE(timerfd_settime(expired, 0, &once, nullptr) == 0);
  WaitUntil([] { return IsReadable(expired) && IsReadable(periodic); });
  SforkAndCheck(Times(), [] {
    itimerspec left{};
    REQUIRE(timerfd_gettime(far, &left) == 0);
    REQUIRE(left.it_value.tv_sec > 3000 && left.it_value.tv_sec < 3600);
    uint64_t ticks = 0;
    REQUIRE(read(expired, &ticks, sizeof ticks) == sizeof ticks && ticks == 1);
    WaitUntil([] { return IsReadable(periodic); });
    REQUIRE(read(periodic, &ticks, sizeof ticks) == sizeof ticks && ticks >= 1);
    REQUIRE(timerfd_gettime(periodic, &left) == 0 && left.it_interval.tv_nsec == 2'000'000);
    REQUIRE(read(idle, &ticks, sizeof ticks) == -1 && errno == EAGAIN);
  });
}

VICTIM(SforkDescriptors, ASignalfdSeesTheChildsSignals) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR1);
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  static const int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  SforkAndCheck(Times(), [] {
    REQUIRE(!IsReadable(fd));
    REQUIRE(kill(getpid(), SIGUSR1) == 0);
    signalfd_siginfo info;
    REQUIRE(read(fd, &info, sizeof info) == sizeof info);
    REQUIRE(info.ssi_signo == SIGUSR1);
  });
}

VICTIM(SforkDescriptors, PipesKeepWhatIsInThem) {
  static int ends[2], large[2], deaf[2], eof[2];
  REQUIRE(pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0 && pipe2(large, O_CLOEXEC) == 0);
  REQUIRE(pipe2(deaf, O_CLOEXEC) == 0 && pipe2(eof, O_CLOEXEC) == 0);
  WriteText(ends[1], "unread");
  REQUIRE(fcntl(large[0], F_SETPIPE_SZ, 1 << 18) == 1 << 18);
  static const std::string much(200'000, 'm');
  WriteText(large[1], much);
  close(deaf[0]);
  close(eof[1]);
  signal(SIGPIPE, SIG_IGN);
  SforkAndCheck(Times(), [] {
    REQUIRE(ReadText(ends[0]) == "unread");
    REQUIRE(!IsReadable(ends[0]));
    WriteText(ends[1], "the child's");
    REQUIRE(fcntl(large[1], F_GETPIPE_SZ) == 1 << 18);
    std::string all;
    while (all.size() < much.size()) all += ReadText(large[0]);
    REQUIRE(all == much);
    REQUIRE(write(deaf[1], "x", 1) == -1 && errno == EPIPE);
    REQUIRE(read(eof[0], all.data(), 1) == 0);
  });
  REQUIRE(ReadText(ends[0]) == "unread");
}

VICTIM(SforkDescriptors, SocketPairsKeepWhatIsInThem) {
  static int pair[2], half[2], orphan[2];
  for (int* ends : {pair, half, orphan})
    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
  WriteText(pair[0], "to one");
  WriteText(pair[1], "to zero");
  WriteText(half[0], "last words");
  shutdown(half[0], SHUT_WR);
  // What java.nio closes descriptors with.
  close(orphan[1]);
  SforkAndCheck(Times(), [] {
    REQUIRE(ReadText(pair[1]) == "to one" && ReadText(pair[0]) == "to zero");
    WriteText(pair[0], "again");
    REQUIRE(ReadText(pair[1]) == "again");
    REQUIRE(ReadText(half[1]) == "last words" && ReadText(half[1]).empty());
    WriteText(half[1], "still open");
    REQUIRE(ReadText(half[0]) == "still open");
    char c;
    REQUIRE(read(orphan[0], &c, 1) == 0);
  });
  REQUIRE(ReadText(pair[1]) == "to one");
}

VICTIM(SforkDescriptors, FilesHaveAnOffsetOfTheirOwn) {
  char path[] = "/tmp/sfork-victim-XXXXXX";
  const int writer = mkostemp(path, O_CLOEXEC);
  WriteText(writer, "0123456789");
  static const int file = open(path, O_RDONLY | O_CLOEXEC);
  static const int twin = fcntl(file, F_DUPFD_CLOEXEC, 0);
  static const int directory = open("/usr", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  unlink(path);
  close(writer);
  REQUIRE(lseek(file, 4, SEEK_SET) == 4);
  SforkAndCheck(Times(), [] {
    char two[2];
    REQUIRE(read(file, two, 2) == 2 && memcmp(two, "45", 2) == 0);
    REQUIRE(read(twin, two, 2) == 2 && memcmp(two, "67", 2) == 0);
    REQUIRE(faccessat(directory, "lib", R_OK, 0) == 0);
  });
  REQUIRE(lseek(file, 0, SEEK_CUR) == 4);
}

// An event loop on a thread of its own, as libuv's: an eventfd to wake it, a pipe, a timer.
class Loop {
 public:
  Loop()
      : set_(epoll_create1(EPOLL_CLOEXEC)),
        wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
        timer_(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK)) {
    REQUIRE(pipe2(pipe_, O_CLOEXEC | O_NONBLOCK) == 0);
    Watch(wake_, EPOLLIN);
    Watch(pipe_[0], EPOLLIN | EPOLLET);
    Watch(timer_, EPOLLIN);
    thread_ = std::thread([this] { Run(); });
  }
  void Wake() { REQUIRE(eventfd_write(wake_, 1) == 0); }
  void Send(std::string_view text) { WriteText(pipe_[1], text); }
  void SetTimer() {
    const itimerspec soon{.it_interval = {}, .it_value = {.tv_sec = 0, .tv_nsec = 1'000'000}};
    REQUIRE(timerfd_settime(timer_, 0, &soon, nullptr) == 0);
  }
  std::atomic<int> wakes = 0, bytes = 0, ticks = 0;

 private:
  void Watch(int fd, uint32_t events) {
    epoll_event event{};
    event.events = events;
    event.data.u64 = 0xabcd0000'00000000 | static_cast<uint64_t>(fd);
    REQUIRE(epoll_ctl(set_, EPOLL_CTL_ADD, fd, &event) == 0);
  }
  void Run() {
    for (;;) {
      epoll_event event;
      const int count = epoll_wait(set_, &event, 1, -1);
      if (count != 1) Fail(__FILE__, __LINE__, "epoll_wait", strerror(errno));
      REQUIRE(event.data.u64 >> 48 == 0xabcd);
      const int fd = static_cast<int>(event.data.u64 & 0xffff);
      uint64_t value = 0;
      if (fd == wake_ && read(fd, &value, sizeof value) > 0) wakes += static_cast<int>(value);
      if (fd == timer_ && read(fd, &value, sizeof value) > 0) ticks += static_cast<int>(value);
      if (fd == pipe_[0]) bytes += static_cast<int>(ReadText(fd).size());
    }
  }

  int set_, wake_, timer_, pipe_[2] = {-1, -1};
  std::thread thread_;
};

VICTIM(SforkDescriptors, AnEventLoopGoesOnWithoutTheZygotes) {
  static Loop loop;
  loop.Wake();
  WaitUntil([] { return loop.wakes == 1; });
  SforkAndCheck(Times(), [] {
    for (int i = 1; i <= 5; ++i) {
      loop.Wake();
      WaitUntil([i] { return loop.wakes == 1 + i; });
      loop.Send("four");
      WaitUntil([i] { return loop.bytes == 4 * i; });
      loop.SetTimer();
      WaitUntil([i] { return loop.ticks == i; });
    }
  });
  REQUIRE(loop.wakes == 1 && loop.bytes == 0 && loop.ticks == 0);
}

VICTIM(SforkDescriptors, SetsMayWatchSets) {
  static const int outer = epoll_create1(EPOLL_CLOEXEC), inner = epoll_create1(EPOLL_CLOEXEC);
  static const int wake = eventfd(0, EFD_CLOEXEC);
  epoll_event event{};
  event.events = EPOLLIN;
  REQUIRE(epoll_ctl(inner, EPOLL_CTL_ADD, wake, &event) == 0);
  REQUIRE(epoll_ctl(outer, EPOLL_CTL_ADD, inner, &event) == 0);
  SforkAndCheck(Times(), [] {
    REQUIRE(!IsReadable(outer));
    REQUIRE(eventfd_write(wake, 1) == 0);
    REQUIRE(IsReadable(outer));
  });
  REQUIRE(!IsReadable(outer));
}

VICTIM(SforkDescriptors, AnInotifyWithoutWatchesIsMadeAnew) {
  static const int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
  SforkAndCheck(Times(), [] {
    char path[] = "/tmp/sfork-victim-XXXXXX";
    const int file = mkostemp(path, O_CLOEXEC);
    REQUIRE(inotify_add_watch(fd, path, IN_MODIFY) > 0);
    WriteText(file, "x");
    unlink(path);
    REQUIRE(IsReadable(fd));
  });
  REQUIRE(!IsReadable(fd));
}

VICTIM(SforkDescriptors, ThreadsThatReadOrPollGoOnWithTheRenewed) {
  static int ends[2], pair[2];
  static const int counter = eventfd(0, EFD_CLOEXEC);
  REQUIRE(pipe2(ends, O_CLOEXEC) == 0);
  REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
  static std::vector<std::thread> threads;
  threads.emplace_back([] { REQUIRE(ReadText(ends[0]) == "pipe"); });
  threads.emplace_back([] {
    eventfd_t value = 0;
    REQUIRE(eventfd_read(counter, &value) == 0 && value == 9);
  });
  threads.emplace_back([] {
    char text[16];
    REQUIRE(recv(pair[0], text, sizeof text, 0) == 6);
  });
  threads.emplace_back([] {
    pollfd wait{.fd = pair[1], .events = POLLIN, .revents = 0};
    REQUIRE(poll(&wait, 1, -1) == 1);
  });
  SforkAndCheck(Times(), [] {
    WriteText(ends[1], "pipe");
    REQUIRE(eventfd_write(counter, 9) == 0);
    WriteText(pair[1], "socket");
    WriteText(pair[0], "poll");
    for (std::thread& thread : threads) thread.join();
  });
}

VICTIM(SforkDescriptors, TheRuntimesNumbersAreToldAndNoMoreAreOpen) {
  const int a = eventfd(0, EFD_CLOEXEC), b = open("/dev/null", O_RDWR | O_CLOEXEC);
  const FrozenProcess frozen = REQUIRE_VALUE(FrozenProcess::Freeze(Options()));
  const std::span<const int> numbers = frozen.RuntimeDescriptors();
  REQUIRE(std::vector<int>(numbers.begin(), numbers.end()) == (std::vector<int>{a, b}));
  const size_t open_here = CountDescriptors().value();
  SforkAndCheck(frozen, 5, [&] { REQUIRE(CountDescriptors().value() == open_here); });
}

}  // namespace
}  // namespace spore::victim
