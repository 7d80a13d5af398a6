// spore logs.
#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <memory>

#include "tools/spore/context.h"
#include "tools/spore/output.h"
#include "tools/spore/units.h"

namespace spore::cli {
namespace {

constexpr uint32_t kFollowWaitMs = 60000;

struct Arguments {
  std::string function;
  std::string stream;
  std::string instance;
  uint32_t tail = 0;
  bool follow = false;
  bool timestamps = false;
};

std::string StreamName(v1::LogLine::Stream stream) {
  switch (stream) {
    case v1::LogLine::STDOUT:
      return "stdout";
    case v1::LogLine::STDERR:
      return "stderr";
    case v1::LogLine::SYSTEM:
      return "system";
    default:
      return "";
  }
}

bool Wanted(const v1::LogLine& line, const Arguments& arguments) {
  return (arguments.stream.empty() || StreamName(line.stream()) == arguments.stream) &&
         line.instance_id().starts_with(arguments.instance);
}

// With --json each line is an object of its own, so that following works.
void PrintLine(const v1::LogLine& line, const Arguments& arguments, bool json) {
  if (json) {
    nlohmann::ordered_json object;
    object["unix_us"] = line.unix_us();
    object["instance_id"] = line.instance_id();
    object["stream"] = StreamName(line.stream());
    object["text"] = TextJson(line.text());
    fmt::print("{}\n", JsonText(object, -1));
    return;
  }
  if (arguments.timestamps) {
    fmt::print("{}.{:06} {} {:6} ", HumanTime(line.unix_us() / 1000), line.unix_us() % 1000000,
               line.instance_id(), StreamName(line.stream()));
  }
  fmt::print("{}\n", ForTerminal(line.text(), STDOUT_FILENO));
}

Outcome Logs(const Context& context, const Arguments& arguments) {
  auto connection = context.Connect();
  if (!connection) return tl::unexpected(connection.error());
  v1::ReadLogsRequest request;
  request.set_function(arguments.function);
  request.set_tail(arguments.tail);
  for (;;) {
    auto response = connection->Call<v1::ReadLogsResponse>("spore.v1.Logs", "Read", request);
    if (!response) return tl::unexpected(Explain(response.error(), context.socket));
    if (response->dropped() > 0 && request.cursor() != 0) {
      fmt::print(stderr, "spore: {} lines were dropped before they could be read\n",
                 response->dropped());
    }
    for (const v1::LogLine& line : response->lines()) {
      if (Wanted(line, arguments)) PrintLine(line, arguments, context.json);
    }
    // A reader that has gone (| head) ends the following.
    if (std::fflush(stdout) != 0) return kDone;
    const bool more = response->lines_size() > 0 && response->cursor() != request.cursor();
    if (!arguments.follow && !more) return kDone;
    request.set_cursor(response->cursor());
    request.set_tail(0);
    if (arguments.follow) request.set_wait_ms(kFollowWaitMs);
  }
}

}  // namespace

void AddLogs(CLI::App& app, Context& context) {
  CLI::App* logs = AddCommand(app, context, "logs", "Print what a function wrote");
  auto arguments = std::make_shared<Arguments>();
  logs->add_option("NAME", arguments->function, "Function")->required();
  logs->add_flag("-f,--follow", arguments->follow, "Go on with what it writes from now on");
  logs->add_option("-n,--tail", arguments->tail, "Only the last N lines")
      ->check(CLI::Range(uint32_t{1}, UINT32_MAX).description(""))
      ->type_name("N");
  logs->add_option("--stream", arguments->stream, "Only this stream (system: Spore's own lines)")
      ->check(CLI::IsMember({"stdout", "stderr", "system"}).description(""))
      ->type_name("stdout|stderr|system");
  logs->add_option("--instance", arguments->instance, "Only lines of this instance")
      ->type_name("ID");
  logs->add_flag("-t,--timestamps", arguments->timestamps,
                 "Put time, instance and stream before each line");
  logs->callback([&context, arguments] {
    context.command = [&context, arguments] { return Logs(context, *arguments); };
  });
}

}  // namespace spore::cli
