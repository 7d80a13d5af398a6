// spore stats.
#include <fmt/format.h>

#include <map>

#include "tools/spore/context.h"
#include "tools/spore/output.h"
#include "tools/spore/units.h"

namespace spore::cli {
namespace {

std::string Counts(const google::protobuf::Map<std::string, uint64_t>& counts) {
  std::string text;
  // Protobuf's maps have no order of their own.
  for (const auto& [name, count] : std::map<std::string, uint64_t>(counts.begin(), counts.end())) {
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", count, name);
  }
  return text.empty() ? "none" : text;
}

Outcome Stats(const Context& context) {
  auto stats =
      CallDaemon<v1::StatsResponse>(context, "spore.v1.System", "Stats", v1::StatsRequest());
  if (!stats) return tl::unexpected(stats.error());
  if (context.json) {
    PrintJson(ToJson(*stats));
    return kDone;
  }
  PrintPairs({
      {"Up", HumanMicroseconds(stats->uptime_ms() * 1000)},
      {"Functions", fmt::format("{}", stats->functions())},
      {"Instances",
       fmt::format("{} live, {} of them idle", stats->instances_live(), stats->instances_idle())},
      {"Sandboxes ready", fmt::format("{}", stats->sandboxes_ready())},
      {"Invocations",
       fmt::format("{}, {} of them failed", stats->invocations(), stats->invocation_errors())},
      {"Runs", fmt::format("{}", stats->runs())},
      {"Starts", Counts(stats->starts())},
      {"Loaded ahead", fmt::format("{} of the forks", stats->loaded_ahead())},
      {"Deaths", Counts(stats->deaths())},
      {"Latency", fmt::format("p50 {}, p99 {}", HumanMicroseconds(stats->latency_p50_us()),
                              HumanMicroseconds(stats->latency_p99_us()))},
      {"Queued", fmt::format("{}", stats->queued())},
      {"Overloaded", fmt::format("{} refused", stats->overloaded())},
      {"Daemon memory", HumanBytes(stats->daemon_memory_bytes())},
  });
  return kDone;
}

}  // namespace

void AddStats(CLI::App& app, Context& context) {
  CLI::App* stats = AddCommand(app, context, "stats", "Print the daemon's counters");
  stats->callback([&context] { context.command = [&context] { return Stats(context); }; });
}

}  // namespace spore::cli
