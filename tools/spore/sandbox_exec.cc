// spore sandbox exec, and what concerns programs that run in the background.
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "tools/client/memfd.h"
#include "tools/spore/output.h"
#include "tools/spore/relay.h"
#include "tools/spore/sandbox.h"
#include "tools/spore/sandbox_terminal.h"
#include "tools/spore/settings.h"
#include "tools/spore/units.h"

namespace spore::cli {
namespace {

constexpr uint32_t kWaitMs = 60000;

struct ExecArguments {
  v1::ExecRequest request;
  bool interactive = false;
  bool terminal = false;
};

client::Fd CatchSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT}) sigaddset(&signals, signal);
  ::sigprocmask(SIG_BLOCK, &signals, nullptr);
  return client::Fd(::signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK));
}

// Whatever fails before the program could start is Spore's failure, and not its exit code.
Failure AsSporeFailure(Failure failure) {
  failure.exit_code = kSporeFailed;
  return failure;
}

Outcome Conclude(const v1::Execution& exec) {
  if (!exec.error().empty())
    fmt::print(stderr, "spore: {}\n", ForTerminal(exec.error(), STDERR_FILENO));
  return exec.timed_out() ? kTimedOut : exec.exit_code();
}

Outcome Receive(const Context& context, client::Connection& connection) {
  auto reply = connection.Receive();
  if (!reply) return tl::unexpected(AsSporeFailure(Explain(reply.error(), context.socket)));
  auto response = client::Connection::Parse<v1::ExecResponse>(*reply);
  if (!response) return tl::unexpected(AsSporeFailure(Explain(response.error(), context.socket)));
  return Conclude(response->exec());
}

Outcome ExecOnTerminal(const Context& context, ExecArguments& arguments) {
  auto terminal = SandboxTerminal::Make();
  if (!terminal) return tl::unexpected(terminal.error());
  arguments.request.set_streams(v1::ExecRequest::TERMINAL);
  if (const char* type = std::getenv("TERM"); type != nullptr)
    arguments.request.mutable_environment()->insert({"TERM", type});
  auto connection = context.Connect();
  if (!connection) return tl::unexpected(AsSporeFailure(connection.error()));
  auto sent = connection->Send(kSandboxes, "Exec", arguments.request, {terminal->slave()});
  if (!sent) return tl::unexpected(AsSporeFailure(Explain(sent.error(), context.socket)));
  terminal->CloseSlave();
  const int signal = terminal->Relay(connection->fd(), arguments.interactive);
  if (signal != 0) return kSignalBase + signal;
  return Receive(context, *connection);
}

struct Ends {
  client::Fd ours, theirs;
};
Expected<Ends> MakePipe(bool they_read) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0)
    return Fail(kSporeFailed, std::string("cannot make a pipe: ") + std::strerror(errno));
  Ends made{client::Fd(ends[they_read ? 1 : 0]), client::Fd(ends[they_read ? 0 : 1])};
  return made;
}

Outcome ExecOnPipes(const Context& context, const ExecArguments& arguments) {
  const client::Fd signals = CatchSignals();
  Ends in;
  if (arguments.interactive) {
    auto pipe = MakePipe(true);
    if (!pipe) return tl::unexpected(pipe.error());
    in = std::move(*pipe);
  } else {
    in.theirs.Reset(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  }
  auto out = MakePipe(false);
  auto err = MakePipe(false);
  if (!out || !err) return tl::unexpected(out ? err.error() : out.error());
  auto connection = context.Connect();
  if (!connection) return tl::unexpected(AsSporeFailure(connection.error()));
  auto sent = connection->Send(kSandboxes, "Exec", arguments.request,
                               {in.theirs.get(), out->theirs.get(), err->theirs.get()});
  if (!sent) return tl::unexpected(AsSporeFailure(Explain(sent.error(), context.socket)));
  // The program's ends close here, so that an end of file can be seen.
  for (client::Fd* fd : {&in.theirs, &out->theirs, &err->theirs}) fd->Reset();
  Relay relay(std::move(in.ours), std::move(out->ours), std::move(err->ours), signals.get());
  const RelayEnd waited = relay.RunUntilAnswer(connection->fd());
  // Closing the connection, as leaving does, kills the program.
  if (waited.signal != 0) return kSignalBase + waited.signal;
  const RelayEnd drained = relay.Drain();
  Outcome outcome = Receive(context, *connection);
  if (!outcome) return outcome;
  if (drained.signal != 0) return kSignalBase + drained.signal;
  if (drained.output_error != 0) {
    return Fail(*outcome == kDone ? kSporeFailed : *outcome,
                std::string("output was lost: ") + std::strerror(drained.output_error));
  }
  return outcome;
}

// Prints the id, with which all else can be asked.
Outcome ExecDetached(const Context& context, ExecArguments& arguments) {
  arguments.request.set_streams(v1::ExecRequest::KEPT);
  auto response = CallDaemon<v1::ExecResponse>(context, kSandboxes, "Exec", arguments.request);
  if (!response) return tl::unexpected(AsSporeFailure(response.error()));
  if (response->exec().pid() == 0) return Conclude(response->exec());
  context.json ? PrintJson(ToJson(response->exec()))
               : fmt::print("{}\n", response->exec().exec_id());
  return kDone;
}

Outcome Exec(const Context& context, ExecArguments& arguments) {
  if (arguments.request.detach()) return ExecDetached(context, arguments);
  return arguments.terminal ? ExecOnTerminal(context, arguments) : ExecOnPipes(context, arguments);
}

void AddExec(CLI::App& sandbox, Context& context) {
  CLI::App* exec = sandbox.add_subcommand("exec", "Execute a program in a sandbox");
  auto arguments = std::make_shared<ExecArguments>();
  v1::ExecRequest& request = arguments->request;
  // Everything from the id on is left alone, as in `spore run`.
  exec->prefix_command();
  exec->validate_positionals();
  exec->add_option("ID", "The sandbox; -- COMMAND [ARGS...] follows")
      ->type_name("[--] COMMAND [ARGS...]")
      ->check(CLI::Validator([](std::string&) { return std::string("not here"); }, ""));
  exec->add_option("--socket", context.socket, "Where spored listens")->type_name("PATH");
  exec->add_flag_callback(
      "--json", [&context] { context.json = true; }, "Print JSON");
  exec->add_flag("-i,--interactive", arguments->interactive, "It reads our standard input");
  exec->add_flag("-t,--tty", arguments->terminal, "It gets a terminal of its own");
  exec->add_flag_callback(
      "-d,--detach", [arguments] { arguments->request.set_detach(true); },
      "Leave it in the background, its output kept; print its number");
  exec->add_option("-w,--workdir", *request.mutable_working_directory(),
                   "Folder that it starts in (default: /tmp)")
      ->type_name("DIR");
  AddEnvironmentOption(*exec, *request.mutable_environment());
  AddDuration(
      *exec, "--timeout", [arguments](uint64_t v) { arguments->request.set_timeout_ms(v); },
      "It is killed after this");
  exec->callback([&context, arguments, exec] {
    std::vector<std::string> words = exec->remaining();
    if (words.empty()) throw CLI::RequiredError("ID");
    arguments->request.set_id(words.front());
    words.erase(words.begin());
    if (!words.empty() && words.front() == "--") words.erase(words.begin());
    if (words.empty()) throw CLI::RequiredError("COMMAND");
    for (const std::string& word : words) arguments->request.add_args(word);
    context.command = [&context, arguments] { return Exec(context, *arguments); };
  });
}

std::string StateOf(const v1::Execution& exec) {
  if (exec.state() == v1::Execution::RUNNING) return "running";
  if (exec.timed_out()) return "timed out";
  if (exec.signal() != 0) return SignalName(exec.signal());
  return fmt::format("exit {}", exec.exit_code());
}

Outcome ListExecs(const Context& context, const std::string& id) {
  v1::ListExecsRequest request;
  request.set_id(id);
  auto response = CallDaemon<v1::ListExecsResponse>(context, kSandboxes, "ListExecs", request);
  if (!response) return tl::unexpected(response.error());
  if (context.json) {
    PrintJsonList(response->execs());
    return kDone;
  }
  Table table({{"EXEC", Align::kRight},
               {"PID", Align::kRight},
               {"STATE"},
               {"AGE", Align::kRight},
               {"OUTPUT"},
               {"COMMAND"}});
  for (const v1::Execution& exec : response->execs()) {
    std::string command;
    for (const std::string& word : exec.args()) command += (command.empty() ? "" : " ") + word;
    table.Add({fmt::format("{}", exec.exec_id()), fmt::format("{}", exec.pid()), StateOf(exec),
               HumanAge(exec.started_unix_ms()), exec.kept() ? "kept" : "-", command});
  }
  table.Print();
  return kDone;
}

// Until its end; then as `exec` would have ended.
Outcome Wait(const Context& context, const v1::WaitExecRequest& asked) {
  auto connection = context.Connect();
  if (!connection) return tl::unexpected(connection.error());
  v1::WaitExecRequest request = asked;
  request.set_wait_ms(kWaitMs);
  for (;;) {
    auto exec = CallSandbox<v1::Execution>(context, *connection, "WaitExec", request);
    if (!exec) return tl::unexpected(AsSporeFailure(exec.error()));
    if (exec->state() == v1::Execution::ENDED) return Conclude(*exec);
  }
}

Outcome Output(const Context& context, v1::ReadExecOutputRequest& request, bool follow) {
  auto connection = context.Connect();
  if (!connection) return tl::unexpected(connection.error());
  request.set_wait_ms(follow ? kWaitMs : 0);
  for (;;) {
    auto response =
        CallSandbox<v1::ReadExecOutputResponse>(context, *connection, "ReadExecOutput", request);
    if (!response) return tl::unexpected(response.error());
    if (response->position() > request.position()) {
      fmt::print(stderr, "spore: {} bytes before this are no longer kept\n",
                 response->position() - request.position());
    }
    const auto written = client::WriteAll(STDOUT_FILENO, response->data(), "output");
    if (!written) return Fail(kRefused, written.error().message);
    request.set_position(response->position() + response->data().size());
    if (response->end() || (!follow && response->data().empty())) return kDone;
  }
}

void AddBackground(CLI::App& sandbox, Context& context) {
  CLI::App* list =
      AddCommand(sandbox, context, "execs", "List programs that were executed in a sandbox");
  auto id = std::make_shared<std::string>();
  list->add_option("ID", *id, "Its id, or a prefix that no other has")->required();
  list->callback(
      [&context, id] { context.command = [&context, id] { return ListExecs(context, *id); }; });

  CLI::App* wait = AddCommand(sandbox, context, "wait", "Wait for the end of a program");
  auto waited = std::make_shared<std::pair<std::string, uint32_t>>();
  wait->add_option("ID", waited->first, "The sandbox")->required();
  wait->add_option("EXEC", waited->second, "The program's number")->required()->type_name("N");
  wait->callback([&context, waited] {
    context.command = [&context, waited] {
      v1::WaitExecRequest request;
      request.set_id(waited->first);
      request.set_exec_id(waited->second);
      return Wait(context, request);
    };
  });

  CLI::App* output = AddCommand(sandbox, context, "output", "Print the kept output of a program");
  auto which = std::make_shared<std::pair<std::string, uint32_t>>();
  auto follow = std::make_shared<bool>(false);
  auto err = std::make_shared<bool>(false);
  output->add_option("ID", which->first, "The sandbox")->required();
  output->add_option("EXEC", which->second, "The program's number")->required()->type_name("N");
  output->add_flag("-f,--follow", *follow, "Go on until its end");
  output->add_flag("--stderr", *err, "Its standard error, not its standard output");
  output->callback([&context, which, follow, err] {
    context.command = [&context, which, follow, err] {
      v1::ReadExecOutputRequest request;
      request.set_id(which->first);
      request.set_exec_id(which->second);
      request.set_stderr(*err);
      return Output(context, request, *follow);
    };
  });
}

int SignalNumber(const std::string& text) {
  const std::string name = text.starts_with("SIG") ? text.substr(3) : text;
  for (int signal = 1; signal < NSIG; ++signal) {
    const char* known = sigabbrev_np(signal);
    if (name == std::to_string(signal) || (known != nullptr && name == known)) return signal;
  }
  return 0;
}

void AddSignal(CLI::App& sandbox, Context& context) {
  CLI::App* command = AddCommand(sandbox, context, "signal", "Send a program a signal");
  auto request = std::make_shared<v1::SignalExecRequest>();
  auto exec = std::make_shared<uint32_t>(0);
  auto name = std::make_shared<std::string>("TERM");
  command->add_option("ID", *request->mutable_id(), "The sandbox")->required();
  command->add_option("EXEC", *exec, "The program's number")->required()->type_name("N");
  command->add_option("SIGNAL", *name, "A name or number (default: TERM)")->type_name("");
  command->callback([&context, request, exec, name] {
    context.command = [&context, request, exec, name]() -> Outcome {
      const int signal = SignalNumber(*name);
      if (signal == 0) return Fail(kUsage, "'" + *name + "' is not the name of a signal");
      request->set_exec_id(*exec);
      request->set_signal(signal);
      auto response =
          CallDaemon<v1::SignalExecResponse>(context, kSandboxes, "SignalExec", *request);
      if (!response) return tl::unexpected(response.error());
      return kDone;
    };
  });
}

}  // namespace

void AddSandboxExec(CLI::App& sandbox, Context& context) {
  AddExec(sandbox, context);
  AddBackground(sandbox, context);
  AddSignal(sandbox, context);
}

}  // namespace spore::cli
