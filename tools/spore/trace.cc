// spore trace.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>

#include "spore/v1/observability.pb.h"
#include "tools/client/memfd.h"
#include "tools/spore/observability.h"
#include "tools/spore/output.h"
#include "tools/spore/units.h"
#include "tools/spore/waterfall.h"

namespace spore::cli {
namespace {

// What a line has beside its bar.
constexpr size_t kOtherColumns = 74;
constexpr size_t kNarrowest = 20, kPlain = 60, kWidest = 200;

struct Arguments {
  std::string function;
  uint32_t count = 10;
  bool steps = false;
  std::string chrome;
};

size_t BarColumns() {
  winsize size{};
  if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return kPlain;
  const size_t columns = size.ws_col > kOtherColumns ? size.ws_col - kOtherColumns : 0;
  return std::clamp(columns, kNarrowest, kWidest);
}

Outcome WriteChrome(const std::string& path, const std::string& function, const Traces& traces) {
  const std::string text = JsonText(ChromeTrace(function, traces), -1) + "\n";
  if (path == "-") {
    fmt::print("{}", text);
    return kDone;
  }
  const client::Fd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));
  if (!file.valid()) return Fail(kRefused, "cannot write " + path + ": " + std::strerror(errno));
  if (auto written = client::WriteAll(file.get(), text, path); !written)
    return Fail(kRefused, written.error().message);
  fmt::print("{} invocations are in {}\n", traces.size(), ForTerminal(path, STDOUT_FILENO));
  return kDone;
}

void PrintSteps(const v1::InvocationTrace& trace) {
  fmt::print("\nrequest {}, instance {}\n{}", ForTerminal(trace.request_id(), STDOUT_FILENO),
             ForTerminal(trace.instance_id(), STDOUT_FILENO),
             ForTerminal(TraceText(trace.trace()), STDOUT_FILENO));
}

Outcome Trace(const Context& context, const Arguments& arguments) {
  v1::TracesRequest request;
  request.set_function(arguments.function);
  request.set_limit(arguments.count);
  auto response =
      CallDaemon<v1::TracesResponse>(context, "spore.v1.Observability", "Traces", request);
  if (!response) return tl::unexpected(response.error());
  if (!arguments.chrome.empty())
    return WriteChrome(arguments.chrome, arguments.function, response->traces());
  if (context.json) {
    PrintJsonList(response->traces());
    return kDone;
  }
  if (response->traces().empty()) {
    fmt::print(stderr, "spore: nothing is kept of {}: it was not invoked since spored started\n",
               ForTerminal(arguments.function, STDERR_FILENO));
    return kDone;
  }
  fmt::print("{}{}\n",
             ForTerminal(WaterfallText(response->traces(), BarColumns(), false), STDOUT_FILENO),
             kWaterfallLegend);
  if (!arguments.steps) return kDone;
  for (auto trace = response->traces().rbegin(); trace != response->traces().rend(); ++trace)
    PrintSteps(*trace);
  return kDone;
}

}  // namespace

void AddTrace(CLI::App& app, Context& context) {
  CLI::App* trace =
      AddCommand(app, context, "trace", "Draw the phases of a function's recent invocations");
  auto arguments = std::make_shared<Arguments>();
  trace->add_option("NAME", arguments->function, "Function")->required();
  trace->add_option("-n,--count", arguments->count, "The last N invocations (10; at most 32)")
      ->check(CLI::Range(uint32_t{1}, UINT32_MAX).description(""))
      ->type_name("N");
  trace->add_flag("--steps", arguments->steps, "Each one's steps, too, in a table");
  trace
      ->add_option("--chrome", arguments->chrome,
                   "Write them for Chrome's about:tracing or Perfetto, - to standard output")
      ->type_name("FILE");
  trace->callback([&context, arguments] {
    context.command = [&context, arguments] { return Trace(context, *arguments); };
  });
}

}  // namespace spore::cli
