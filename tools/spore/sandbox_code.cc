// spore sandbox run-code, interrupt and restart.
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>

#include "tools/client/memfd.h"
#include "tools/spore/output.h"
#include "tools/spore/sandbox.h"
#include "tools/spore/settings.h"

namespace spore::cli {
namespace {

constexpr std::size_t kMaxCode = std::size_t{1} << 20;

Expected<std::string> LoadCode(const std::string& path) {
  client::Fd file;
  if (path != "-") {
    file.Reset(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!file.valid()) return Fail(kNotFound, "cannot read " + path + ": " + std::strerror(errno));
  }
  auto code = client::ReadAll(path == "-" ? STDIN_FILENO : file.get(), kMaxCode,
                              path == "-" ? "code from stdin" : path);
  if (!code) return Fail(kCannotRun, code.error().message);
  return std::move(*code);
}

void NoteCut(const char* what, uint64_t bytes) {
  if (bytes > 0) fmt::print(stderr, "spore: {} more bytes of {} were dropped\n", bytes, what);
}

// As an interpreter at a terminal would show it.
void Print(const v1::RunCodeResponse& response) {
  (void)client::WriteAll(STDOUT_FILENO, response.stdout(), "output");
  (void)client::WriteAll(STDERR_FILENO, response.stderr(), "output");
  NoteCut("stdout", response.stdout_dropped());
  NoteCut("stderr", response.stderr_dropped());
  if (response.has_value()) {
    fmt::print("{}{}\n", ForTerminal(response.value(), STDOUT_FILENO),
               response.value_cut() ? " .." : "");
  }
  if (!response.has_error()) return;
  for (const std::string& line : response.error().stack_trace())
    fmt::print(stderr, "{}\n", ForTerminal(line, STDERR_FILENO));
  if (response.error().stack_trace().empty()) {
    fmt::print(stderr, "{}: {}\n", ForTerminal(response.error().type(), STDERR_FILENO),
               ForTerminal(response.error().message(), STDERR_FILENO));
  }
}

// With JSON's own value in the place of its text, and texts as texts.
void PrintAsJson(const v1::RunCodeResponse& response) {
  nlohmann::ordered_json object = ToJson(response);
  object["stdout"] = TextJson(response.stdout());
  object["stderr"] = TextJson(response.stderr());
  auto value = nlohmann::ordered_json::parse(response.json(), nullptr, false);
  object["json"] = value.is_discarded() ? nlohmann::ordered_json() : value;
  PrintJson(object);
}

Outcome RunCode(const Context& context, v1::RunCodeRequest& request, const std::string& file,
                const std::string& text) {
  if (text.empty()) {
    auto code = LoadCode(file);
    if (!code) return tl::unexpected(code.error());
    request.set_code(std::move(*code));
  } else {
    request.set_code(text);
  }
  auto response = CallDaemon<v1::RunCodeResponse>(context, kSandboxes, "RunCode", request);
  if (!response) return tl::unexpected(response.error());
  context.json ? PrintAsJson(*response) : Print(*response);
  if (response->timed_out()) {
    fmt::print(stderr, "spore: its timeout has passed{}\n",
               response->interpreter_ended() ? "; the interpreter was ended" : "");
    return kTimedOut;
  }
  return response->has_error() ? kFunctionFailed : kDone;
}

}  // namespace

void AddSandboxCode(CLI::App& sandbox, Context& context) {
  CLI::App* run = AddCommand(sandbox, context, "run-code",
                             "Run a piece of code in a sandbox; state is kept between calls");
  auto request = std::make_shared<v1::RunCodeRequest>();
  auto file = std::make_shared<std::string>("-");
  auto text = std::make_shared<std::string>();
  run->add_option("ID", *request->mutable_id(), "The sandbox")->required();
  auto* place = run->add_option("FILE", *file, "What to run; -: standard input (default)");
  run->add_option("-c,--code", *text, "The code itself")->type_name("CODE")->excludes(place);
  run->add_option("--lang", *request->mutable_language(),
                  "Its language (default: what the sandbox runs)")
      ->type_name("NAME");
  AddDuration(
      *run, "--timeout", [request](uint64_t v) { request->set_timeout_ms(v); },
      "Interrupt it after this");
  run->callback([&context, request, file, text] {
    context.command = [&context, request, file, text] {
      return RunCode(context, *request, *file, *text);
    };
  });

  CLI::App* interrupt =
      AddCommand(sandbox, context, "interrupt", "Interrupt the code that runs in a sandbox");
  auto interrupted = std::make_shared<v1::InterruptCodeRequest>();
  interrupt->add_option("ID", *interrupted->mutable_id(), "The sandbox")->required();
  interrupt->callback([&context, interrupted] {
    context.command = [&context, interrupted]() -> Outcome {
      auto response =
          CallDaemon<v1::InterruptCodeResponse>(context, kSandboxes, "InterruptCode", *interrupted);
      if (!response) return tl::unexpected(response.error());
      if (!response->was_running()) fmt::print("no code was running\n");
      return kDone;
    };
  });

  CLI::App* restart = AddCommand(sandbox, context, "restart-code",
                                 "End the interpreter of a sandbox, and its state");
  auto restarted = std::make_shared<v1::RestartCodeRequest>();
  restart->add_option("ID", *restarted->mutable_id(), "The sandbox")->required();
  restart->callback([&context, restarted] {
    context.command = [&context, restarted]() -> Outcome {
      auto response =
          CallDaemon<v1::RestartCodeResponse>(context, kSandboxes, "RestartCode", *restarted);
      if (!response) return tl::unexpected(response.error());
      if (!response->was_there()) fmt::print("no interpreter was there\n");
      return kDone;
    };
  });
}

}  // namespace spore::cli
