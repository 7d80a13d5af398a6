// Words for the protocol's enumerations, deaths and traces (declared in output.h).
#include <fmt/format.h>

#include <algorithm>
#include <csignal>
#include <cstring>

#include "tools/client/start_kind.h"
#include "tools/spore/output.h"
#include "tools/spore/units.h"

namespace spore::cli {
namespace {

// "OUT_OF_MEMORY" as "out of memory".
std::string Words(std::string name) {
  for (char& c : name) c = c == '_' ? ' ' : static_cast<char>(std::tolower(c));
  return name;
}

constexpr int64_t kBarColumns = 40;

// Where a step lies between the trace's start and end, at least one column wide.
std::string Bar(int64_t start, int64_t duration, int64_t first, int64_t span) {
  const auto column = [&](int64_t at) {
    return std::clamp<int64_t>((at - first) * kBarColumns / span, 0, kBarColumns);
  };
  const int64_t from = std::min(column(start), kBarColumns - 1);
  const int64_t to = std::max(column(start + duration), from + 1);
  return std::string(static_cast<std::size_t>(from), '.') +
         std::string(static_cast<std::size_t>(to - from), '#') +
         std::string(static_cast<std::size_t>(kBarColumns - to), '.');
}

}  // namespace

std::vector<std::pair<std::string, std::string>> LimitPairs(const v1::Limits& limits) {
  return {{"Memory", HumanBytes(limits.memory_bytes())},
          {"CPUs", fmt::format("{:g}", limits.cpu_millis() / 1000.0)},
          {"Processes", fmt::format("{}", limits.pids())},
          {"/tmp", HumanBytes(limits.tmp_bytes())},
          {"Open files", fmt::format("{}", limits.open_files())},
          {"Timeout", HumanMicroseconds(limits.timeout_ms() * 1000)}};
}

std::string StateName(v1::Instance::State state) {
  return Words(v1::Instance::State_Name(state));
}

std::string StateName(v1::Image::State state) {
  if (state == v1::Image::STOPPED) return "not started";
  if (state == v1::Image::FAILED) return "unusable";
  return Words(v1::Image::State_Name(state));
}

std::string StateName(v1::Zygote::State state) {
  return Words(v1::Zygote::State_Name(state));
}

std::string StartName(v1::StartKind kind) {
  const std::string name = client::StartName(kind);
  return name.empty() ? "-" : name;
}

std::string IsolationName(v1::Isolation isolation) {
  if (isolation == v1::ISOLATION_UNSPECIFIED) return "-";
  return Words(v1::Isolation_Name(isolation).substr(std::strlen("ISOLATION_")));
}

std::string CauseName(v1::Death::Cause cause) {
  return cause == v1::Death::CAUSE_UNSPECIFIED ? "unknown" : Words(v1::Death::Cause_Name(cause));
}

std::string SignalName(int signal) {
  const char* name = ::sigabbrev_np(signal);
  return name != nullptr ? fmt::format("SIG{}", name) : fmt::format("signal {}", signal);
}

std::string DescribeDeath(const v1::Death& death, uint64_t timeout_ms) {
  const v1::Usage& usage = death.usage();
  switch (death.cause()) {
    case v1::Death::EXIT:
      return fmt::format("exit code {}", death.exit_code());
    case v1::Death::SIGNAL:
      return fmt::format(
          "{}{}", SignalName(death.signal()),
          death.signal() == SIGSYS ? " (a system call that sandboxes may not make)" : "");
    case v1::Death::OUT_OF_MEMORY:
      return fmt::format("out of memory (limit {}, peak {})",
                         HumanBytes(usage.memory_limit_bytes()),
                         HumanBytes(usage.memory_peak_bytes()));
    case v1::Death::TIMEOUT:
      return timeout_ms == 0
                 ? fmt::format("timed out after {}", HumanMicroseconds(usage.wall_us()))
                 : fmt::format("timed out (limit {})", HumanMicroseconds(timeout_ms * 1000));
    case v1::Death::PIDS:
      return fmt::format("process limit hit {} times, then exit code {}", usage.pids_limit_hits(),
                         death.exit_code());
    default:
      break;
  }
  const std::string cause = CauseName(death.cause());
  return death.message().empty() ? cause : cause + ": " + death.message();
}

std::string TraceText(const v1::Trace& trace) {
  std::vector<v1::Step> steps(trace.steps().begin(), trace.steps().end());
  std::stable_sort(steps.begin(), steps.end(),
                   [](const auto& a, const auto& b) { return a.start_us() < b.start_us(); });
  int64_t first = 0;
  auto last = static_cast<int64_t>(trace.total_us());
  for (const v1::Step& step : steps) {
    first = std::min(first, step.start_us());
    last = std::max(last, step.start_us() + static_cast<int64_t>(step.duration_us()));
  }
  const int64_t span = std::max<int64_t>(last - first, 1);
  Table table(
      {{"PROCESS"}, {"STEP"}, {"START us", Align::kRight}, {"TIME us", Align::kRight}, {"WHEN"}});
  for (const v1::Step& step : steps) {
    table.Add({step.process(), step.name(), fmt::format("{}", step.start_us()),
               fmt::format("{}", step.duration_us()),
               Bar(step.start_us(), static_cast<int64_t>(step.duration_us()), first, span)});
  }
  table.Add({"total", "", "", fmt::format("{}", trace.total_us()), ""});
  return table.Text(false);
}

}  // namespace spore::cli
