// libsfork alone: what the freeze refuses, what the audit notices, what the child has right.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <atomic>
#include <thread>

#include "zygote/sfork/audit.h"
#include "zygote/sfork/sfork.h"

namespace spore {
namespace {

// The test runner's own descriptors (pipes, logs) are allowed whatever they are.
FreezeOptions AllowOpenNow() {
  FreezeOptions options;
  const std::vector<DescriptorNote> notes = ListDescriptors().value();
  for (const DescriptorNote& note : notes) options.allowed_descriptors.push_back(note.fd);
  return options;
}

// Runs `body` in an sforked child; its result is the exit code.
template <typename Body>
int ExitCodeOf(const FrozenProcess& frozen, Body body) {
  const Result<pid_t> pid = frozen.Clone({}, nullptr);
  if (!pid) return -1;
  if (*pid == 0) {
    if (!frozen.Thaw().ok()) _exit(99);
    _exit(body());
  }
  int status = 0;
  if (waitpid(*pid, &status, __WALL) != *pid) return -2;
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

TEST(Sfork, AChildKnowsItsOwnThreadId) {
  const FrozenProcess frozen = FrozenProcess::Freeze(AllowOpenNow()).value();
  EXPECT_EQ(ExitCodeOf(frozen,
                       [] {
                         // raise() takes the id from where glibc keeps it; a recursive mutex
                         // records it as owner.
                         pthread_mutexattr_t attributes;
                         pthread_mutexattr_init(&attributes);
                         pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_ERRORCHECK);
                         pthread_mutex_t mutex;
                         pthread_mutex_init(&mutex, &attributes);
                         pthread_mutex_lock(&mutex);
                         const bool owner_right =
                             mutex.__data.__owner == static_cast<int>(syscall(SYS_gettid));
                         return owner_right && pthread_mutex_unlock(&mutex) == 0 ? 7 : 1;
                       }),
            7);
  EXPECT_EQ(ExitCodeOf(frozen, [] { return raise(SIGKILL); }), -SIGKILL);
}

TEST(Sfork, AChildCanMakeAndJoinThreads) {
  const FrozenProcess frozen = FrozenProcess::Freeze(AllowOpenNow()).value();
  EXPECT_EQ(ExitCodeOf(frozen,
                       [] {
                         std::atomic<int> sum = 0;
                         std::thread a([&] { sum += 3; }), b([&] { sum += 4; });
                         a.join();
                         b.join();
                         return sum.load();
                       }),
            7);
}

TEST(Sfork, TheRobustListIsRegistered) {
  const FrozenProcess frozen = FrozenProcess::Freeze(AllowOpenNow()).value();
  void* parents = nullptr;
  size_t size = 0;
  ASSERT_EQ(syscall(SYS_get_robust_list, 0, &parents, &size), 0);
  EXPECT_EQ(ExitCodeOf(frozen,
                       [&] {
                         void* head = nullptr;
                         syscall(SYS_get_robust_list, 0, &head, &size);
                         return head == parents ? 7 : 1;
                       }),
            7);
}

TEST(Sfork, FreezeRefusesASecondThread) {
  std::atomic<bool> stop = false;
  std::thread other([&] {
    pthread_setname_np(pthread_self(), "stray");
    stop.wait(false);
  });
  Result<FrozenProcess> frozen = FrozenProcess::Freeze(AllowOpenNow());
  while (!frozen && frozen.error().Message().find("stray") == std::string::npos)
    frozen = FrozenProcess::Freeze(AllowOpenNow());  // the name takes a moment
  stop = true;
  stop.notify_all();
  other.join();
  ASSERT_FALSE(frozen);
  EXPECT_NE(frozen.error().Message().find("2 threads"), std::string::npos);
}

TEST(Sfork, FreezeRefusesADescriptorThatChildrenWouldShare) {
  const FreezeOptions before = AllowOpenNow();
  UniqueFd counter(eventfd(0, EFD_CLOEXEC));
  const Result<FrozenProcess> frozen = FrozenProcess::Freeze(before);
  ASSERT_FALSE(frozen);
  EXPECT_NE(frozen.error().Message().find("eventfd"), std::string::npos)
      << frozen.error().Message();
}

TEST(Sfork, FreezeAcceptsAFileOpenForReading) {
  const FreezeOptions before = AllowOpenNow();
  UniqueFd file(open("/etc/passwd", O_RDONLY | O_CLOEXEC));
  EXPECT_TRUE(FrozenProcess::Freeze(before));
  UniqueFd writable(open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  ASSERT_TRUE(writable.valid());
  EXPECT_FALSE(FrozenProcess::Freeze(before));
}

TEST(Sfork, TheAuditNoticesWhatChangedSinceTheFreeze) {
  UniqueFd file(open("/etc/passwd", O_RDONLY | O_CLOEXEC));
  const FrozenProcess frozen = FrozenProcess::Freeze(AllowOpenNow()).value();
  EXPECT_TRUE(frozen.Audit(0));
  {
    UniqueFd stray(open("/dev/null", O_RDONLY | O_CLOEXEC));
    EXPECT_FALSE(frozen.Audit(0));
    EXPECT_TRUE(frozen.Audit(1));
    EXPECT_FALSE(frozen.Clone({}, nullptr));
  }
  // The same number, another file.
  UniqueFd other(open("/etc/group", O_RDONLY | O_CLOEXEC));
  ASSERT_EQ(dup3(other.get(), file.get(), O_CLOEXEC), file.get());
  other.Reset();
  const Result<> audit = frozen.Audit(0);
  ASSERT_FALSE(audit);
  EXPECT_NE(audit.error().Message().find("/etc/group"), std::string::npos);
  std::atomic<bool> stop = false;
  std::thread thread([&] { stop.wait(false); });
  EXPECT_FALSE(frozen.Audit(0));
  stop = true;
  stop.notify_all();
  thread.join();
}

TEST(Sfork, AThousandChildrenInARow) {
  const FrozenProcess frozen = FrozenProcess::Freeze(AllowOpenNow()).value();
  for (int i = 0; i < 1000; ++i) ASSERT_EQ(ExitCodeOf(frozen, [i] { return i % 100; }), i % 100);
}

}  // namespace
}  // namespace spore
