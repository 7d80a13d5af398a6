#include "tests/sfork/victim.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <charconv>
#include <cstring>

#include "zygote/sfork/audit.h"

namespace spore::victim {
namespace {

constexpr int kHangsMs = 300'000;

// The wait status, or -1 for a process that had to be killed because it hung.
int Reap(pid_t pid) {
  const UniqueFd pidfd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  pollfd ended{.fd = pidfd.get(), .events = POLLIN, .revents = 0};
  const bool in_time = poll(&ended, 1, kHangsMs) == 1;
  if (!in_time) kill(pid, SIGKILL);
  int status = 0;
  if (waitpid(pid, &status, __WALL) != pid) return -1;
  return in_time ? status : -1;
}

std::string Describe(int status) {
  if (status == -1) return "it hangs";
  if (WIFSIGNALED(status)) return std::string("killed by ") + strsignal(WTERMSIG(status));
  return "exit status " + std::to_string(WEXITSTATUS(status));
}

}  // namespace

void Fail(const char* file, int line, const char* what, const std::string& detail) {
  const char* name = strrchr(file, '/');
  dprintf(2, "%s:%d: %s%s%s\n", name != nullptr ? name + 1 : file, line, what,
          detail.empty() ? "" : ": ", detail.c_str());
  _exit(1);
}

std::string Outcome(const std::function<void()>& body) {
  fflush(nullptr);
  const pid_t pid = fork();
  if (pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    body();
    _exit(0);
  }
  const int status = Reap(pid);
  return status == 0 ? "" : Describe(status);
}

FreezeOptions Options() {
  // Opened by the shell or the test runner: below what this program opens itself.
  static const std::vector<DescriptorNote> inherited = ListDescriptors().value();
  FreezeOptions options{.stop_threads = true, .renew_descriptors = true};
  for (const DescriptorNote& note : inherited) options.allowed_descriptors.push_back(note.fd);
  options.patience = std::chrono::seconds(30);
  return options;
}

// Before main, and so before any test has opened anything.
[[maybe_unused]] const FreezeOptions kFirst = Options();

int Times() {
  int times = 50;
  if (const char* text = getenv("SPORE_SFORK_TIMES"))
    std::from_chars(text, text + strlen(text), times);
  return times;
}

void CloneAndCheck(const FrozenProcess& frozen, int times, const std::function<void()>& in_child) {
  for (int i = 0; i < times; ++i) {
    const pid_t pid = REQUIRE_VALUE(frozen.Clone({}, nullptr));
    if (pid == 0) {
      in_child();
      _exit(0);
    }
    const int status = Reap(pid);
    if (status != 0)
      Fail(__FILE__, __LINE__, "a child", Describe(status) + ", number " + std::to_string(i));
  }
}

void SforkAndCheck(const FrozenProcess& frozen, int times, const std::function<void()>& in_child) {
  CloneAndCheck(frozen, times, [&] {
    const StepResult thawed = frozen.Thaw();
    if (!thawed.ok()) Fail(__FILE__, __LINE__, thawed.operation, strerror(thawed.errno_value));
    in_child();
  });
}

std::string Refusal(const std::function<void()>& prepare) {
  std::string message;
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) < 0) return "pipe2";
  UniqueFd reader(ends[0]), writer(ends[1]);
  const std::string outcome = Outcome([&] {
    FreezeOptions options = Options();
    options.allowed_descriptors.push_back(reader.get());
    options.allowed_descriptors.push_back(writer.get());
    options.patience = std::chrono::milliseconds(1000);
    prepare();
    const Result<FrozenProcess> frozen = FrozenProcess::Freeze(options);
    const std::string text = frozen ? "" : frozen.error().Message();
    REQUIRE(write(writer.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size()));
  });
  writer.Reset();
  char buffer[2048];
  const ssize_t got = read(reader.get(), buffer, sizeof buffer);
  message.assign(buffer, got > 0 ? static_cast<size_t>(got) : 0);
  return outcome.empty() ? message : "the victim: " + outcome;
}

void WaitUntil(const std::function<bool()>& condition) {
  const timespec pause{.tv_sec = 0, .tv_nsec = 1'000'000};
  for (int i = 0; i < 60'000; ++i) {
    if (condition()) return;
    nanosleep(&pause, nullptr);
  }
  Fail(__FILE__, __LINE__, "waited for a minute in vain");
}

}  // namespace spore::victim
