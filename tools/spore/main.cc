// spore: the command with which people drive spored. One file a command; this one wires them up.
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <clocale>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>

#include "tools/spore/complete.h"
#include "tools/spore/context.h"
#include "tools/spore/events.h"
#include "tools/spore/observability.h"
#include "tools/spore/output.h"

namespace spore::cli {
namespace {

void Complain(const std::string& message) {
  fmt::print(stderr, "spore: {}\n", ForTerminal(message, STDERR_FILENO));
}

// Descriptors 0 to 2 must be open, or a socket or pipe of ours would take their place.
void OpenStandardDescriptors() {
  for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; ++fd) {
    if (::fcntl(fd, F_GETFD) < 0 && ::open("/dev/null", O_RDWR) != fd) std::_Exit(kSporeFailed);
  }
}

void AddCommands(CLI::App& app, Context& context) {
  AddCommonOptions(app, context);
  app.set_version_flag("--version", "spore " SPORE_VERSION, "Print the version and leave");
  app.require_subcommand(0, 1);
  AddFunction(app, context);
  AddInvoke(app, context);
  AddAsync(app, context);
  AddSchedule(app, context);
  AddRun(app, context);
  AddSandbox(app, context);
  AddMcp(app, context);
  AddPs(app, context);
  AddLogs(app, context);
  AddAdvise(app, context);
  AddImage(app, context);
  AddZygote(app, context);
  AddCheckpoint(app, context);
  AddStats(app, context);
  AddTop(app, context);
  AddTrace(app, context);
  AddHistory(app, context);
  AddInfo(app, context);
  AddCheck(app, context);
}

// The deepest command that the arguments named, for "try ... --help".
std::string CommandPath(const CLI::App& app) {
  const auto chosen = app.get_subcommands();
  return chosen.empty() ? app.get_name() : app.get_name() + " " + CommandPath(*chosen.front());
}

int Finish(int code) {
  // Output that could not be written must not look like success; a reader that has gone away
  // (spore ps | head) is no news to anybody.
  const bool failed = std::fflush(stdout) != 0 || std::ferror(stdout) != 0;
  if (failed && errno == EPIPE) return kSignalBase + SIGPIPE;
  if (failed) {
    Complain(std::string("cannot write to stdout: ") + std::strerror(errno));
    return code == kDone ? kRefused : code;
  }
  return code;
}

int Main(int argc, char** argv) {
  Context context;
  const char* socket = std::getenv("SPORE_SOCKET");
  context.socket = socket != nullptr && *socket != '\0' ? socket : kDefaultSocket;

  CLI::App app("Runs functions and scripts in fresh, confined sandboxes. See spore(1).", "spore");
  AddCommands(app, context);
  if (argc > 1 && std::strcmp(argv[1], "__complete") == 0) {
    PrintCompletion(Complete(app, context, {argv + 2, argv + argc}));
    return kDone;
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);
    Complain(std::string(error.what()) + "\nTry '" + CommandPath(app) + " --help'.");
    return kUsage;
  }
  if (!context.command) {
    fmt::print(stderr, "{}", app.help());
    return kUsage;
  }
  const Outcome outcome = context.command();
  if (outcome) return *outcome;
  if (!outcome.error().message.empty()) Complain(outcome.error().message);
  return outcome.error().exit_code;
}

}  // namespace
}  // namespace spore::cli

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);
  std::setlocale(LC_CTYPE, "");
  spore::cli::OpenStandardDescriptors();
  try {
    return spore::cli::Finish(spore::cli::Main(argc, argv));
  } catch (const std::exception& error) {
    // Ours do not throw; what a library threw (std::bad_alloc, say) still deserves a sentence.
    spore::cli::Complain(error.what());
    return spore::cli::kSporeFailed;
  }
}
