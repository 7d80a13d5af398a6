#include "daemon/zygotes/zygote_spawn.h"

#include <fcntl.h>
#include <unistd.h>

#include <utility>
#include <vector>

#include "daemon/common/start_program.h"
#include "daemon/loop/packet_channel.h"

namespace spore {
namespace {

constexpr int kSupervisorFd = 3;
constexpr int kZygoteFd = 4;

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

}  // namespace

Result<ZygoteProcess> SpawnZygote(const ImageManifest& image, const ZygoteSpawnOptions& options) {
  SPORE_ASSIGN(SocketPair supervisor, MakePacketPair());
  SPORE_ASSIGN(SocketPair zygote, MakePacketPair());
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return SysError("make a pipe");
  UniqueFd messages(ends[0]);
  UniqueFd messages_write(ends[1]);
  if (fcntl(messages.get(), F_SETFL, O_NONBLOCK) != 0) return SysError("set O_NONBLOCK");

  SPORE_ASSIGN(StartedProgram process,
               StartProgram({.arguments = Arguments(image, options),
                             .environment = {"PATH=/usr/bin:/bin"},
                             .out = messages_write.get(),
                             .err = messages_write.get(),
                             .passed = {supervisor.theirs.get(), zygote.theirs.get()}}));
  return ZygoteProcess{process.pid, std::move(process.pidfd), std::move(supervisor.ours),
                       std::move(zygote.ours), std::move(messages)};
}

}  // namespace spore
