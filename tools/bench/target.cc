#include "tools/bench/target.h"

#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <thread>

#include "tools/bench/samples.h"
#include "tools/client/pack.h"

namespace spore::bench {
namespace {

constexpr const char* kCode =
    "import time\n"
    "def answer(event, context):\n"
    "    return event\n"
    "def hold(event, context):\n"
    "    time.sleep(event / 1000)\n";

client::Result<> WaitUntilItAnswers(const std::string& socket, pid_t pid, const std::string& log) {
  for (int attempt = 0; attempt < 1000; ++attempt) {
    auto connection = client::Connection::Open(socket);
    if (connection) {
      auto info = connection->Call<v1::InfoResponse>("spore.v1.System", "Info", v1::InfoRequest());
      if (info) return {};
    }
    if (::kill(pid, 0) != 0) break;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  return client::LocalError("spored does not answer; its log:\n" + ReadFile(log));
}

struct Wanted {
  std::string name;
  std::string runtime;
  std::string handler;
  v1::Isolation isolation;
  uint32_t loaded_ahead = 0;
};

client::Result<> DeployOne(client::Connection& connection, const client::Fd& code,
                           const Wanted& wanted) {
  v1::DeployRequest request;
  request.set_name(wanted.name);
  v1::FunctionSettings& settings = *request.mutable_settings();
  settings.set_runtime(wanted.runtime);
  settings.set_handler(wanted.handler);
  settings.set_isolation(wanted.isolation);
  settings.mutable_limits()->set_idle_ms(600000);
  if (wanted.loaded_ahead > 0) settings.set_min_instances(wanted.loaded_ahead);
  auto done = connection.Call<v1::Function>("spore.v1.Functions", "Deploy", request, {code.get()});
  if (!done) return tl::unexpected(done.error());
  return {};
}

}  // namespace

client::Result<PrivateDaemon> PrivateDaemon::Start(const std::string& program,
                                                   const std::string& images,
                                                   const std::string& more) {
  auto folder = TemporaryFolder::Make();
  if (!folder) return tl::unexpected(folder.error());
  const std::string& path = folder->path();
  const std::string config = path + "/spore.toml";
  const std::string log = path + "/spored.log";
  std::string settings = "runtime-dir = \"" + path + "/run\"\ncgroup-name = \"spore-bench-" +
                         std::to_string(::getpid()) + "\"\nuid-base = 1610612736\n";
  settings += more;
  if (!images.empty()) settings += "image-dirs = [\"" + images + "\"]\n";
  auto written = WriteFile(config, settings);
  if (!written) return tl::unexpected(written.error());
  const std::string socket = path + "/spored.sock";
  auto pid = bench::Start(
      {program, "--config", config, "--socket", socket, "--state", path + "/state"}, log);
  if (!pid) return tl::unexpected(pid.error());
  PrivateDaemon daemon(std::move(*folder), *pid);
  auto answers = WaitUntilItAnswers(socket, *pid, log);
  if (!answers) return tl::unexpected(answers.error());
  return daemon;
}

PrivateDaemon::~PrivateDaemon() {
  if (pid_ <= 0) return;
  ::kill(pid_, SIGTERM);
  Wait(pid_);
}

client::Result<Functions> Functions::Deploy(const std::string& socket) {
  auto folder = TemporaryFolder::Make();
  if (!folder) return tl::unexpected(folder.error());
  auto written = WriteFile(folder->path() + "/app.py", kCode);
  if (!written) return tl::unexpected(written.error());
  auto code = client::PackCode(folder->path());
  if (!code) return tl::unexpected(code.error());
  auto connection = client::Connection::Open(socket);
  if (!connection) return tl::unexpected(connection.error());

  Functions functions(socket);
  const std::string& stem = functions.stem_;
  for (const Wanted& wanted :
       {Wanted{stem + "-fresh", "python", "app.answer", v1::ISOLATION_INVOCATION},
        Wanted{stem + "-reused", "python", "app.answer", v1::ISOLATION_INSTANCE},
        Wanted{stem + "-held", "python", "app.hold", v1::ISOLATION_INSTANCE},
        Wanted{stem + "-ahead", "python", "app.answer", v1::ISOLATION_INVOCATION, kLoadedAhead}}) {
    auto done = DeployOne(*connection, *code, wanted);
    if (!done) return tl::unexpected(done.error());
    functions.names_.push_back(wanted.name);
  }
  return functions;
}

Functions::Functions(std::string socket)
    : socket_(std::move(socket)), stem_("spore-bench-" + std::to_string(::getpid())) {}

client::Result<std::string> Functions::Add(const std::string& runtime, const std::string& handler,
                                           const std::string& folder, uint32_t loaded_ahead) {
  auto code = client::PackCode(folder);
  if (!code) return tl::unexpected(code.error());
  auto connection = client::Connection::Open(socket_);
  if (!connection) return tl::unexpected(connection.error());
  const Wanted wanted{stem_ + "-" + runtime + (loaded_ahead > 0 ? "-ahead" : ""), runtime, handler,
                      v1::ISOLATION_INVOCATION, loaded_ahead};
  auto done = DeployOne(*connection, *code, wanted);
  if (!done) return tl::unexpected(done.error());
  names_.push_back(wanted.name);
  return wanted.name;
}

Functions::~Functions() {
  if (names_.empty()) return;
  auto connection = client::Connection::Open(socket_);
  if (!connection) return;
  for (const std::string& name : names_) {
    v1::RemoveFunctionRequest request;
    request.set_name(name);
    // Nothing to be done here if it fails; the daemon says why in its log.
    static_cast<void>(
        connection->Call<v1::RemoveFunctionResponse>("spore.v1.Functions", "Remove", request));
  }
}

namespace {

struct Invoked {
  double us = 0;
  v1::InvokeResponse response;
};

client::Result<Invoked> Invoke(client::Connection& connection, const std::string& function,
                               const std::string& payload) {
  v1::InvokeRequest request;
  request.set_name(function);
  request.set_payload(payload);
  const Stopwatch watch;
  auto response = connection.Call<v1::InvokeResponse>("spore.v1.Invocations", "Invoke", request);
  const double us = watch.Us();
  if (!response) return tl::unexpected(response.error());
  if (response->has_error()) {
    return client::LocalError(response->error().type() + ": " + response->error().message());
  }
  return Invoked{us, std::move(*response)};
}

}  // namespace

client::Result<double> TimeInvoke(client::Connection& connection, const std::string& function,
                                  const std::string& payload, v1::StartKind expected) {
  auto invoked = Invoke(connection, function, payload);
  if (!invoked) return tl::unexpected(invoked.error());
  const v1::InvokeResponse& response = invoked->response;
  if (expected != v1::START_KIND_UNSPECIFIED && response.start_kind() != expected) {
    return client::LocalError("expected " + v1::StartKind_Name(expected) + ", got " +
                              v1::StartKind_Name(response.start_kind()) + ": " +
                              response.start_reason());
  }
  return invoked->us;
}

client::Result<double> TimeLoadedAhead(client::Connection& connection, const std::string& function,
                                       const std::string& payload) {
  constexpr int kTries = 100;
  for (int i = 0; i < kTries; ++i) {
    auto invoked = Invoke(connection, function, payload);
    if (!invoked) return tl::unexpected(invoked.error());
    if (invoked->response.loaded_ahead()) return invoked->us;
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  return client::LocalError("no instance of " + function + " was loaded ahead");
}

client::Result<double> TimeRun(client::Connection& connection, int null_fd) {
  v1::RunRequest request;
  request.set_runtime("python");
  request.set_script("pass");
  request.add_args("pass.py");
  const Stopwatch watch;
  auto response = connection.Call<v1::RunResponse>("spore.v1.Invocations", "Run", request,
                                                   {null_fd, null_fd, null_fd});
  const double us = watch.Us();
  if (!response) return tl::unexpected(response.error());
  const v1::Death& death = response->death();
  if (death.cause() != v1::Death::EXIT || death.exit_code() != 0) {
    return client::LocalError("the script ended otherwise: " + death.message());
  }
  return us;
}

}  // namespace spore::bench
