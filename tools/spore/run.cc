// spore run: a script, once, in a sandbox of its own, as if it ran here.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <memory>

#include "tools/client/memfd.h"
#include "tools/spore/context.h"
#include "tools/spore/output.h"
#include "tools/spore/relay.h"
#include "tools/spore/settings.h"
#include "tools/spore/units.h"

namespace spore::cli {
namespace {

constexpr std::size_t kMaxScript = std::size_t{1} << 20;

struct Pipe {
  client::Fd read;
  client::Fd write;
};

Expected<Pipe> MakePipe() {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) {
    return Fail(kSporeFailed, std::string("cannot make a pipe: ") + std::strerror(errno));
  }
  return Pipe{client::Fd(ends[0]), client::Fd(ends[1])};
}

// Those that people and supervisors end a program with. Held back and read from a descriptor, so
// that the exit code is ours to choose; one that was ignored at our start (nohup) stays ignored.
client::Fd CatchSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  for (int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT}) sigaddset(&signals, signal);
  ::sigprocmask(SIG_BLOCK, &signals, nullptr);
  return client::Fd(::signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK));
}

Expected<std::string> LoadScript(const std::string& path) {
  client::Fd file;
  if (path != "-") {
    file.Reset(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!file.valid()) {
      return Fail(errno == ENOENT ? kNotFound : kCannotRun,
                  "cannot read script " + path + ": " + std::strerror(errno));
    }
  }
  auto script = client::ReadAll(path == "-" ? STDIN_FILENO : file.get(), kMaxScript,
                                path == "-" ? "script from stdin" : "script " + path);
  if (!script) return Fail(kCannotRun, script.error().message);
  return std::move(*script);
}

void Note(const std::string& text) {
  fmt::print(stderr, "spore: {}\n", ForTerminal(text, STDERR_FILENO));
}

// The exit code for a death; says what the script's own output cannot.
int Conclude(const v1::Death& death, uint64_t timeout_ms) {
  const std::string description = DescribeDeath(death, timeout_ms);
  switch (death.cause()) {
    case v1::Death::EXIT:
      return death.exit_code();
    case v1::Death::PIDS:
      Note(fmt::format("the script hit its limit on processes and threads {} times (see --pids)",
                       death.usage().pids_limit_hits()));
      return death.exit_code();
    case v1::Death::SIGNAL:
      Note("killed by " + description);
      return kSignalBase + death.signal();
    case v1::Death::OUT_OF_MEMORY:
    case v1::Death::KILLED:
      Note("killed: " + description);
      return kSignalBase + SIGKILL;
    case v1::Death::TIMEOUT:
      Note("killed: " + description);
      return kTimedOut;
    default:
      Note("the script was ended: " + description);
      return kSporeFailed;
  }
}

// Whatever fails before the script could run is Spore's failure, 125, and not to be mistaken for
// an exit code of the script.
Failure AsSporeFailure(Failure failure) {
  failure.exit_code = kSporeFailed;
  return failure;
}

struct Session {
  client::Connection connection;
  Relay relay;
};

// A directory, or what was opened with O_PATH (open(2)), has nothing to read.
Expected<void> CheckStandardInput() {
  struct stat info {};
  const int flags = ::fcntl(STDIN_FILENO, F_GETFL);
  if (flags < 0 || ::fstat(STDIN_FILENO, &info) != 0) return {};  // closed: an end of file
  if (!S_ISDIR(info.st_mode) && (flags & O_PATH) == 0) return {};
  return Fail(kSporeFailed,
              std::string("standard input is ") +
                  (S_ISDIR(info.st_mode) ? "a directory" : "a descriptor opened with O_PATH") +
                  "; expected a file, a pipe, a socket or a terminal");
}

Expected<std::unique_ptr<Session>> Start(const Context& context, const v1::RunRequest& request,
                                         int signal_fd) {
  if (auto usable = CheckStandardInput(); !usable) return tl::unexpected(usable.error());
  auto in = MakePipe();
  auto out = MakePipe();
  auto err = MakePipe();
  if (!in || !out || !err) return Fail(kSporeFailed, "cannot make pipes: too many open files");
  auto connection = context.Connect();
  if (!connection) return tl::unexpected(AsSporeFailure(connection.error()));
  auto sent = connection->Send("spore.v1.Invocations", "Run", request,
                               {in->read.get(), out->write.get(), err->write.get()});
  if (!sent) return tl::unexpected(AsSporeFailure(Explain(sent.error(), context.socket)));
  // The script's ends close here, so that an end of file can be seen.
  return std::make_unique<Session>(
      Session{std::move(*connection),
              Relay(std::move(in->write), std::move(out->read), std::move(err->read), signal_fd)});
}

Outcome Run(const Context& context, const v1::RunRequest& request) {
  const client::Fd signals = CatchSignals();
  auto session = Start(context, request, signals.get());
  if (!session) return tl::unexpected(session.error());
  Relay& relay = (*session)->relay;
  // Closing the connection, as leaving does, kills the script.
  const RelayEnd waited = relay.RunUntilAnswer((*session)->connection.fd());
  if (waited.signal != 0) return kSignalBase + waited.signal;

  auto reply = (*session)->connection.Receive();
  const RelayEnd drained = relay.Drain();
  if (!reply) return tl::unexpected(AsSporeFailure(Explain(reply.error(), context.socket)));
  auto response = client::Connection::Parse<v1::RunResponse>(*reply);
  if (!response) return tl::unexpected(AsSporeFailure(Explain(response.error(), context.socket)));

  if (request.trace()) {
    fmt::print(stderr, "{} start; instance {}\n{}", StartName(response->start_kind()),
               response->instance_id(), TraceText(response->trace()));
  }
  const int code = Conclude(response->death(), request.limits().timeout_ms());
  if (drained.signal != 0) return kSignalBase + drained.signal;
  if (drained.output_error != 0) {
    return Fail(code == kDone ? kSporeFailed : code,
                std::string("output was lost: ") + std::strerror(drained.output_error));
  }
  return code;
}

// By the script's name; null where it does not tell.
const char* RuntimeOf(const std::string& script) {
  if (script.ends_with(".py")) return "python";
  for (const char* suffix : {".js", ".cjs", ".mjs"}) {
    if (script.ends_with(suffix)) return "node";
  }
  return nullptr;
}

Outcome Prepare(const Context& context, v1::RunRequest& request,
                const std::vector<std::string>& words) {
  const std::string& script = words.front();
  if (request.runtime().empty()) {
    const char* runtime = RuntimeOf(script);
    if (runtime == nullptr) {
      return Fail(kUsage, "--runtime is missing, and the name of script '" + script +
                              "' does not tell it\nTry 'spore run --help'.");
    }
    request.set_runtime(runtime);
  }
  auto text = LoadScript(script);
  if (!text) return tl::unexpected(text.error());
  request.set_script(std::move(*text));
  for (const std::string& word : words) request.add_args(word);
  return Run(context, request);
}

}  // namespace

void AddRun(CLI::App& app, Context& context) {
  CLI::App* run = app.add_subcommand("run", "Run a script once in a sandbox of its own");
  auto request = std::make_shared<v1::RunRequest>();
  // Everything from the script's name on is the script's, options too: CLI11 leaves it alone as
  // "remaining" because the positional below, there for the help text and for "--", takes nothing.
  run->prefix_command();
  run->validate_positionals();
  run->add_option("SCRIPT", "A file, or - to read it from stdin; ARGS may follow")
      ->type_name("[ARGS...]")
      ->check(CLI::Validator([](std::string&) { return std::string("not here"); }, ""));
  run->add_option("--socket", context.socket, "Where spored listens")->type_name("PATH");
  run->add_option("--runtime", *request->mutable_runtime(),
                  "Language runtime: python, node (default: by the script's name)")
      ->type_name("NAME");
  run->add_option("--image", *request->mutable_image(), "Image (default: named like the runtime)")
      ->type_name("NAME");
  AddLimitOptions(*run, *request->mutable_limits());
  AddEnvironmentOption(*run, *request->mutable_environment());
  run->add_flag_callback(
      "--trace", [request] { request->set_trace(true); }, "Print each step's time to stderr");
  run->callback([&context, request, run] {
    std::vector<std::string> words = run->remaining();
    if (!words.empty() && words.front() == "--") words.erase(words.begin());
    if (words.empty()) throw CLI::RequiredError("SCRIPT");
    if (words.front().size() > 1 && words.front()[0] == '-')
      throw CLI::ExtrasError({words.front()});
    context.command = [&context, request, words] { return Prepare(context, *request, words); };
  });
}

}  // namespace spore::cli
