#include "daemon/zygote_spawn.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <vector>

#include "daemon/packet_channel.h"

namespace spore {
namespace {

constexpr int kSupervisorFd = 3;
constexpr int kZygoteFd = 4;
// Descriptors are moved here first, so that none of the dup2 calls overwrites a later one's source.
constexpr int kAboveFixedFds = 16;

std::vector<std::string> Arguments(const ImageManifest& image, const ZygoteSpawnOptions& options) {
  std::string preload;
  for (const std::string& module : image.preload) {
    if (!preload.empty()) preload += ',';
    preload += module;
  }
  std::vector<std::string> arguments{
      options.program,
      "--image",
      image.name,
      "--runtime",
      image.runtime,
      "--interpreter",
      image.interpreter,
      "--uid-base",
      std::to_string(options.uid_base),
      "--uid-count",
      std::to_string(options.uid_count),
      "--supervisor-fd",
      std::to_string(kSupervisorFd),
      "--zygote-fd",
      std::to_string(kZygoteFd),
      "--host-dir",
      options.host_directory,
      "--preload",
      preload,
  };
  if (!options.checkpoint.empty()) arguments.push_back("--checkpoint=" + options.checkpoint);
  if (image.threads) arguments.emplace_back("--threads");
  if (!image.root.path.empty()) arguments.push_back("--root=" + image.root.path);
  if (!image.warm_up.empty()) arguments.push_back("--warm-up=" + image.warm_up);
  for (const std::string& option : image.options) arguments.push_back("--option=" + option);
  for (const auto& [name, value] : image.environment) {
    arguments.emplace_back("--env");
    arguments.push_back(name + "=" + value);
  }
  return arguments;
}

// posix_spawn's two option objects, freed together.
struct SpawnSettings {
  posix_spawn_file_actions_t files;
  posix_spawnattr_t attributes;
  SpawnSettings() {
    posix_spawn_file_actions_init(&files);
    posix_spawnattr_init(&attributes);
  }
  ~SpawnSettings() {
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&attributes);
  }
  SpawnSettings(const SpawnSettings&) = delete;
  SpawnSettings& operator=(const SpawnSettings&) = delete;
};

// Default signal state, a session of its own, descriptors 0 to 4 and no other.
Result<> Prepare(SpawnSettings& settings, int supervisor, int zygote, int messages) {
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  int failed = posix_spawnattr_setsigmask(&settings.attributes, &none);
  if (failed == 0) failed = posix_spawnattr_setsigdefault(&settings.attributes, &all);
  if (failed == 0) {
    failed = posix_spawnattr_setflags(
        &settings.attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSID);
  }
  posix_spawn_file_actions_t* files = &settings.files;
  if (failed == 0) failed = posix_spawn_file_actions_addopen(files, 0, "/dev/null", O_RDONLY, 0);
  if (failed == 0) failed = posix_spawn_file_actions_adddup2(files, messages, 1);
  if (failed == 0) failed = posix_spawn_file_actions_adddup2(files, messages, 2);
  if (failed == 0) failed = posix_spawn_file_actions_adddup2(files, supervisor, kSupervisorFd);
  if (failed == 0) failed = posix_spawn_file_actions_adddup2(files, zygote, kZygoteFd);
  if (failed == 0) failed = posix_spawn_file_actions_addclosefrom_np(files, kZygoteFd + 1);
  if (failed != 0) return SysErrorOf(failed, "prepare the start of spore-zygote");
  return {};
}

Result<UniqueFd> MoveUp(UniqueFd fd) {
  UniqueFd moved(fcntl(fd.get(), F_DUPFD_CLOEXEC, kAboveFixedFds));
  if (!moved) return SysError("duplicate a descriptor");
  return moved;
}

}  // namespace

Result<ZygoteProcess> SpawnZygote(const ImageManifest& image, const ZygoteSpawnOptions& options) {
  SPORE_ASSIGN(SocketPair supervisor, MakePacketPair());
  SPORE_ASSIGN(SocketPair zygote, MakePacketPair());
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return SysError("make a pipe");
  UniqueFd messages(ends[0]);
  UniqueFd messages_write(ends[1]);
  if (fcntl(messages.get(), F_SETFL, O_NONBLOCK) != 0) return SysError("set O_NONBLOCK");

  SPORE_ASSIGN(UniqueFd supervisor_end, MoveUp(std::move(supervisor.theirs)));
  SPORE_ASSIGN(UniqueFd zygote_end, MoveUp(std::move(zygote.theirs)));
  SPORE_ASSIGN(messages_write, MoveUp(std::move(messages_write)));
  SpawnSettings settings;
  SPORE_TRY(Prepare(settings, supervisor_end.get(), zygote_end.get(), messages_write.get()));

  std::vector<std::string> arguments = Arguments(image, options);
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  std::string path = "PATH=/usr/bin:/bin";
  char* environment[] = {path.data(), nullptr};
  pid_t pid = 0;
  const int failed = posix_spawn(&pid, options.program.c_str(), &settings.files,
                                 &settings.attributes, argv.data(), environment);
  if (failed != 0) {
    return SysErrorOf(failed, "start", options.program, "SPORE_LIBEXEC names its directory");
  }
  UniqueFd pidfd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  if (!pidfd) {
    auto error = SysError("pidfd_open");
    kill(pid, SIGKILL);
    waitpid(pid, nullptr, 0);
    return error;
  }
  return ZygoteProcess{pid, std::move(pidfd), std::move(supervisor.ours), std::move(zygote.ours),
                       std::move(messages)};
}

}  // namespace spore
