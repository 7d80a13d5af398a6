// Many copies of a busy kind of process, one after the other: none fails, hangs, or leaves
// something. SPORE_SFORK_STRESS says how many (2,000 unless told otherwise; ten thousand is the
// figure to reach).
#include <gtest/gtest.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <thread>

#include "tests/sfork/pool.h"
#include "tests/sfork/victim.h"
#include "zygote/sfork/audit.h"
#include "zygote/sfork/proc_text.h"

namespace spore::victim {
namespace {

int Copies() {
  int copies = 2000;
  if (const char* text = getenv("SPORE_SFORK_STRESS"))
    std::from_chars(text, text + strlen(text), copies);
  return copies;
}

// "VmRSS:\t  4321 kB"
long ResidentKb() {
  ProcText status;
  REQUIRE(status.Read("/proc/self/status"));
  return strtol(status.data() + status.view().find("VmRSS:") + 6, nullptr, 10);
}

VICTIM(SforkStress, ThousandsOfCopiesInARow) {
  static Pool pool(11);
  static std::atomic<int> events = 0;
  static const int wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  static const int set = epoll_create1(EPOLL_CLOEXEC);
  epoll_event watch{};
  watch.events = EPOLLIN;
  REQUIRE(epoll_ctl(set, EPOLL_CTL_ADD, wake, &watch) == 0);
  std::thread([] {
    for (;;) {
      epoll_event event;
      eventfd_t value = 0;
      if (epoll_wait(set, &event, 1, -1) == 1 && eventfd_read(wake, &value) == 0) ++events;
      events.notify_all();
    }
  }).detach();
  const FrozenProcess frozen = REQUIRE_VALUE(FrozenProcess::Freeze(Options()));
  const auto in_child = [] {
    REQUIRE(eventfd_write(wake, 1) == 0);
    int sum = 0;
    std::vector<std::future<int>> results;
    for (int i = 0; i < 11; ++i) results.push_back(pool.Run([i] { return i; }));
    for (auto& result : results) sum += result.get();
    REQUIRE(sum == 55);
    events.wait(0);
    REQUIRE(events == 1);
  };
  SforkAndCheck(frozen, 100, in_child);  // what grows at first has grown
  const long before = ResidentKb();
  const size_t descriptors = CountDescriptors().value();
  SforkAndCheck(frozen, Copies(), in_child);
  REQUIRE(CountDescriptors().value() == descriptors);
  REQUIRE(ResidentKb() < before + 512);
}

// The freeze itself, while the threads have something to do now and then.
VICTIM(SforkStress, HundredsOfFreezesOfAProcessThatIsNeverQuiteIdle) {
  static Pool pool(6);
  static std::atomic<long> done = 0;
  for (int i = 0; i < 300; ++i) {
    std::vector<std::future<void>> work;
    for (int task = 0; task < 10; ++task) {
      work.push_back(pool.Run([] {
        std::vector<std::string> some(50, std::string(100, 'x'));  // malloc and free
        ++done;
      }));
    }
    // Not waited for: the freeze has to find the moment.
    SforkAndCheck(1, [i] {
      WaitUntil([i] { return done == (i + 1) * 10; });
      pool.Run([] { ++done; }).get();
      REQUIRE(done == (i + 1) * 10 + 1);
    });
  }
}

}  // namespace
}  // namespace spore::victim
