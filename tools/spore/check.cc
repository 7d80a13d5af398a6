// spore check: asks spored what this host can do, and whether a daemon answers.
#include <fcntl.h>
#include <fmt/format.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>

#include "tools/client/memfd.h"
#include "tools/spore/context.h"
#include "tools/spore/output.h"

namespace spore::cli {
namespace {

constexpr std::size_t kMaxReport = std::size_t{1} << 20;

std::string DaemonProgram() {
  const char* program = std::getenv("SPORED");
  return program != nullptr && *program != '\0' ? program : SPORED_PATH;
}

// Starts spored --check, its stdout going to `output` (or ours when negative).
Expected<pid_t> StartCheck(const std::string& program, bool json, int output) {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  posix_spawn_file_actions_init(&actions);
  posix_spawnattr_init(&attributes);
  if (output >= 0) posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
  sigset_t defaults;
  sigemptyset(&defaults);
  sigaddset(&defaults, SIGPIPE);  // ignored by us, not to be by it
  posix_spawnattr_setsigdefault(&attributes, &defaults);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
  std::string name = program;
  std::string check = "--check";
  std::string format = "--json";
  const std::array<char*, 4> argv{name.data(), check.data(), json ? format.data() : nullptr,
                                  nullptr};
  pid_t pid = -1;
  const int error =
      ::posix_spawnp(&pid, program.c_str(), &actions, &attributes, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  if (error != 0) {
    return Fail(kRefused, "cannot run " + program + ": " + std::strerror(error) +
                              "\nThe check is part of spored: install it, or name it in SPORED.");
  }
  return pid;
}

int WaitFor(pid_t pid) {
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : kSignalBase + WTERMSIG(status);
}

// An empty string when the daemon answers.
std::string DaemonProblem(const Context& context, std::string& version) {
  auto info = CallDaemon<v1::InfoResponse>(context, "spore.v1.System", "Info", v1::InfoRequest());
  if (!info) return info.error().message;
  version = info->version();
  return {};
}

Outcome CheckJson(const Context& context) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) {
    return Fail(kRefused, std::string("pipe: ") + std::strerror(errno));
  }
  const client::Fd read_end(ends[0]);
  client::Fd write_end(ends[1]);
  auto pid = StartCheck(DaemonProgram(), true, write_end.get());
  if (!pid) return tl::unexpected(pid.error());
  write_end.Reset();
  auto report = client::ReadAll(read_end.get(), kMaxReport, "the report of spored --check");
  const int code = WaitFor(*pid);
  if (!report) return Fail(kRefused, report.error().message);
  nlohmann::ordered_json json;
  json["host"] = nlohmann::ordered_json::parse(*report, nullptr, false);
  if (json["host"].is_discarded()) {
    return Fail(kRefused, "spored --check --json did not print JSON (exit code " +
                              std::to_string(code) + ")");
  }
  std::string version;
  const std::string problem = DaemonProblem(context, version);
  json["daemon"]["socket"] = context.socket;
  json["daemon"]["answers"] = problem.empty();
  json["daemon"][problem.empty() ? "version" : "problem"] = problem.empty() ? version : problem;
  PrintJson(json);
  return code;
}

Outcome Check(const Context& context) {
  if (context.json) return CheckJson(context);
  auto pid = StartCheck(DaemonProgram(), false, -1);
  if (!pid) return tl::unexpected(pid.error());
  const int code = WaitFor(*pid);
  std::string version;
  const std::string problem = DaemonProblem(context, version);
  fmt::print("\ndaemon: {}\n", problem.empty()
                                   ? fmt::format("spored {} answers at {}", version, context.socket)
                                   : problem);
  return code;
}

}  // namespace

void AddCheck(CLI::App& app, Context& context) {
  CLI::App* check = AddCommand(app, context, "check",
                               "Tell what this host can and cannot do, and what to do about it");
  check->callback([&context] { context.command = [&context] { return Check(context); }; });
}

}  // namespace spore::cli
