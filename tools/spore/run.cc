// spore run: a script or a program, once, in a sandbox of its own, as if it ran here.
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
#include "tools/spore/run_program.h"
#include "tools/spore/settings.h"
#include "tools/spore/units.h"

namespace spore::cli {
namespace {

constexpr const char* kPrograms = "native";  // the runtime that takes any
constexpr std::size_t kMaxScript = std::size_t{1} << 20;

bool TakesPrograms(const std::string& runtime) {
  return runtime == kPrograms || runtime == "provided";
}

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

// The exit code for a death; says what the output of the script or program cannot.
int Conclude(const v1::Death& death, const v1::RunRequest& request) {
  const std::string description = DescribeDeath(death, request.limits().timeout_ms());
  const char* what = TakesPrograms(request.runtime()) ? "the program" : "the script";
  switch (death.cause()) {
    case v1::Death::EXIT:
      return death.exit_code();
    case v1::Death::PIDS:
      Note(fmt::format("{} hit its limit on processes and threads {} times (see --pids)", what,
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
      Note(fmt::format("{} was ended: {}", what, description));
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
                                         const client::Fd& program, int signal_fd) {
  if (auto usable = CheckStandardInput(); !usable) return tl::unexpected(usable.error());
  auto in = MakePipe();
  auto out = MakePipe();
  auto err = MakePipe();
  if (!in || !out || !err) return Fail(kSporeFailed, "cannot make pipes: too many open files");
  auto connection = context.Connect();
  if (!connection) return tl::unexpected(AsSporeFailure(connection.error()));
  std::vector<int> fds{in->read.get(), out->write.get(), err->write.get()};
  if (request.program_attached()) fds.push_back(program.get());
  auto sent = connection->Send("spore.v1.Invocations", "Run", request, fds);
  if (!sent) return tl::unexpected(AsSporeFailure(Explain(sent.error(), context.socket)));
  // The script's ends close here, so that an end of file can be seen.
  return std::make_unique<Session>(
      Session{std::move(*connection),
              Relay(std::move(in->write), std::move(out->read), std::move(err->read), signal_fd)});
}

Outcome Run(const Context& context, const v1::RunRequest& request, const client::Fd& program) {
  const client::Fd signals = CatchSignals();
  auto session = Start(context, request, program, signals.get());
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
    fmt::print(stderr, "{} start{}; instance {}\n{}", StartName(response->start_kind()),
               response->start_reason().empty() ? "" : " (" + response->start_reason() + ")",
               response->instance_id(), TraceText(response->trace()));
  }
  const int code = Conclude(response->death(), request);
  if (drained.signal != 0) return kSignalBase + drained.signal;
  if (drained.output_error != 0) {
    return Fail(code == kDone ? kSporeFailed : code,
                std::string("output was lost: ") + std::strerror(drained.output_error));
  }
  return code;
}

// By the script's name; whatever no runtime claims is a program.
std::string RuntimeOf(const std::string& word) {
  if (word.ends_with(".py")) return "python";
  if (word.ends_with(".java") || word.ends_with(".jar")) return "java";
  for (const char* suffix : {".js", ".cjs", ".mjs"}) {
    if (word.ends_with(suffix)) return "node";
  }
  return kPrograms;
}

// A program that is not found in the image may lie here, where no shell would look for it either.
void HintAtFileHere(const std::string& word) {
  struct stat info {};
  if (word.find('/') != std::string::npos || ::stat(word.c_str(), &info) != 0) return;
  if (S_ISREG(info.st_mode)) Note(fmt::format("for the file here write ./{}", word));
}

Outcome RunProgram(const Context& context, v1::RunRequest& request) {
  const std::string& word = request.args(0);
  if (word == "-") return Fail(kUsage, "a program cannot be read from standard input; name a file");
  if (IsProgramOfImage(word)) {
    Outcome outcome = Run(context, request, {});
    if (outcome && *outcome == kNotFound) HintAtFileHere(word);
    return outcome;
  }
  auto program = LoadProgram(word, /*executed=*/true);
  if (!program) return tl::unexpected(program.error());
  request.set_program_attached(true);
  return Run(context, request, *program);
}

Outcome RunArchive(const Context& context, v1::RunRequest& request) {
  auto archive = LoadProgram(request.args(0), /*executed=*/false);
  if (!archive) return tl::unexpected(archive.error());
  request.set_program_attached(true);
  return Run(context, request, *archive);
}

Outcome RunScript(const Context& context, v1::RunRequest& request) {
  auto text = LoadScript(request.args(0));
  if (!text) return tl::unexpected(text.error());
  request.set_script(std::move(*text));
  return Run(context, request, {});
}

Outcome Prepare(const Context& context, v1::RunRequest& request,
                const std::vector<std::string>& words) {
  if (request.runtime().empty()) {
    if (words.front() == "-") {
      return Fail(kUsage,
                  "--runtime is missing, which standard input does not tell\n"
                  "Try 'spore run --help'.");
    }
    request.set_runtime(RuntimeOf(words.front()));
  }
  for (const std::string& word : words) request.add_args(word);
  if (TakesPrograms(request.runtime())) return RunProgram(context, request);
  const bool jar = request.runtime() == "java" && words.front().ends_with(".jar");
  return jar ? RunArchive(context, request) : RunScript(context, request);
}

}  // namespace

void AddRun(CLI::App& app, Context& context) {
  CLI::App* run =
      app.add_subcommand("run", "Run a script or a program once in a sandbox of its own");
  auto request = std::make_shared<v1::RunRequest>();
  // Everything from the script's name on is the script's, options too: CLI11 leaves it alone as
  // "remaining" because the positional below, there for the help text and for "--", takes nothing.
  run->prefix_command();
  run->validate_positionals();
  run->add_option("SCRIPT", "A script, - to read it from stdin, or a program; ARGS may follow")
      ->type_name("[ARGS...]")
      ->check(CLI::Validator([](std::string&) { return std::string("not here"); }, ""));
  run->add_option("--socket", context.socket, "Where spored listens")->type_name("PATH");
  run->add_option("--runtime", *request->mutable_runtime(),
                  "Runtime: python, node, java, native, provided (default: by the name)")
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
