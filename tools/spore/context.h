// What every command is given, and what it gives back.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <string>
#include <tl/expected.hpp>
#include <utility>
#include <vector>

#include "tools/client/connection.h"

namespace spore::cli {

// Exit codes, as spore(1) promises them.
enum ExitCode : int {
  kDone = 0,
  kFunctionFailed = 1,
  kUsage = 2,
  kUnreachable = 3,
  kRefused = 4,
  kTimedOut = 124,     // `run`: as timeout(1)
  kSporeFailed = 125,  // `run`: what is not the script's doing, as env(1) and others
  kCannotRun = 126,
  kNotFound = 127,
  kSignalBase = 128,
};

// Why a command ended early. The message is printed after "spore: ".
struct Failure {
  int exit_code = kRefused;
  std::string message;
};

// A command's exit code, or why it ended early.
using Outcome = tl::expected<int, Failure>;
template <typename T>
using Expected = tl::expected<T, Failure>;

inline tl::unexpected<Failure> Fail(int exit_code, std::string message) {
  return tl::unexpected(Failure{exit_code, std::move(message)});
}

struct Context {
  std::string socket;
  bool json = false;
  // Set by the parsed command; main() runs it once parsing is over.
  std::function<Outcome()> command;

  Expected<client::Connection> Connect() const;
};

// Says what to do next, and picks the exit code, for an error of the client library.
Failure Explain(const client::Error& error, const std::string& socket);

// A connection and one call, with errors explained.
template <typename Response>
Expected<Response> CallDaemon(const Context& context, std::string_view service,
                              std::string_view method, const google::protobuf::MessageLite& request,
                              const std::vector<int>& fds = {}) {
  auto connection = context.Connect();
  if (!connection) return tl::unexpected(connection.error());
  auto response = connection->Call<Response>(service, method, request, fds);
  if (!response) return tl::unexpected(Explain(response.error(), context.socket));
  return std::move(*response);
}

// One call for each name, over one connection. Goes on after one that is refused, saying why on
// standard error; fails in the end if there was one.
Outcome CallForEach(
    const Context& context, const std::vector<std::string>& names,
    const std::function<client::Result<>(client::Connection&, const std::string& name)>& call);

constexpr const char* kDefaultSocket = "/run/spore/spored.sock";

// --socket, --json and --format: understood before a command's name and after it.
void AddCommonOptions(CLI::App& command, Context& context);
// A command `name` below `parent`, with the options that every command takes.
CLI::App* AddCommand(CLI::App& parent, Context& context, const std::string& name,
                     const std::string& description);

void AddAdvise(CLI::App& app, Context& context);
void AddCheck(CLI::App& app, Context& context);
void AddFunction(CLI::App& app, Context& context);
void AddFunctionDeploy(CLI::App& function, Context& context);
void AddFunctionVersions(CLI::App& function, Context& context);
void AddImage(CLI::App& app, Context& context);
void AddInfo(CLI::App& app, Context& context);
void AddInvoke(CLI::App& app, Context& context);
void AddLogs(CLI::App& app, Context& context);
void AddMcp(CLI::App& app, Context& context);
void AddPs(CLI::App& app, Context& context);
void AddRun(CLI::App& app, Context& context);
void AddSandbox(CLI::App& app, Context& context);
void AddStats(CLI::App& app, Context& context);
void AddZygote(CLI::App& app, Context& context);
void AddCheckpoint(CLI::App& app, Context& context);

}  // namespace spore::cli
