#include "daemon/common/start_program.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

namespace spore {
namespace {

constexpr int kFirstPassed = 3;

// posix_spawn's two option objects, freed together. Errors are collected: any that is not 0.
class SpawnSettings {
 public:
  SpawnSettings() {
    error_ = posix_spawn_file_actions_init(&files_) | posix_spawnattr_init(&attributes_);
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    error_ |= posix_spawnattr_setsigmask(&attributes_, &none);
    error_ |= posix_spawnattr_setsigdefault(&attributes_, &all);
    error_ |= posix_spawnattr_setflags(
        &attributes_, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSID);
  }
  ~SpawnSettings() {
    posix_spawn_file_actions_destroy(&files_);
    posix_spawnattr_destroy(&attributes_);
  }
  SpawnSettings(const SpawnSettings&) = delete;
  SpawnSettings& operator=(const SpawnSettings&) = delete;

  void Pass(int fd, int as) { error_ |= posix_spawn_file_actions_adddup2(&files_, fd, as); }
  // Close-on-exec is the first guard, this the second.
  void CloseFrom(int fd) { error_ |= posix_spawn_file_actions_addclosefrom_np(&files_, fd); }

  Result<pid_t> Start(StartOrder& order) {
    if (error_ != 0) return SysErrorOf(error_, "prepare to start", order.arguments[0]);
    const auto pointers = [](std::vector<std::string>& words) {
      std::vector<char*> all;
      for (std::string& word : words) all.push_back(word.data());
      all.push_back(nullptr);
      return all;
    };
    const std::vector<char*> argv = pointers(order.arguments);
    const std::vector<char*> environment = pointers(order.environment);
    pid_t pid = -1;
    const int failed =
        posix_spawn(&pid, argv[0], &files_, &attributes_, argv.data(), environment.data());
    if (failed == 0) return pid;
    return SysErrorOf(failed, "start", order.arguments[0], "SPORE_LIBEXEC names its directory");
  }

 private:
  posix_spawn_file_actions_t files_;
  posix_spawnattr_t attributes_;
  int error_ = 0;
};

}  // namespace

Result<StartedProgram> StartProgram(StartOrder order) {
  UniqueFd null(open("/dev/null", O_RDWR | O_CLOEXEC));
  if (!null) return SysError("open", "/dev/null");
  std::vector<int> sources{order.in, order.out, order.err};
  sources.insert(sources.end(), order.passed.begin(), order.passed.end());
  // Above all numbers that they are to have, so that no dup2 overwrites a later one's source.
  const int above = static_cast<int>(sources.size());
  std::vector<UniqueFd> moved;
  SpawnSettings settings;
  for (const int source : sources) {
    moved.emplace_back(fcntl(source < 0 ? null.get() : source, F_DUPFD_CLOEXEC, above));
    if (!moved.back()) return SysError("duplicate a descriptor");
    settings.Pass(moved.back().get(), static_cast<int>(moved.size()) - 1);
  }
  settings.CloseFrom(kFirstPassed + static_cast<int>(order.passed.size()));
  StartedProgram process;
  SPORE_ASSIGN(process.pid, settings.Start(order));
  process.pidfd.Reset(static_cast<int>(syscall(SYS_pidfd_open, process.pid, 0)));
  if (process.pidfd) return process;
  auto error = SysError("pidfd_open", order.arguments[0]);
  kill(process.pid, SIGKILL);
  (void)TEMP_FAILURE_RETRY(waitpid(process.pid, nullptr, 0));
  return error;
}

}  // namespace spore
