#include "tools/spore/waterfall.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <optional>

#include "tools/spore/output.h"
#include "tools/spore/units.h"

namespace spore::cli {
namespace {

using nlohmann::ordered_json;

struct Phase {
  char letter;
  int64_t begin_us;
  int64_t end_us;
};

int64_t EndOf(const v1::Step& step) {
  // Wraps where a daemon tells what cannot be.
  return static_cast<int64_t>(static_cast<uint64_t>(step.start_us()) + step.duration_us());
}

// The parts of an invocation that people think in; the steps say more.
std::vector<Phase> PhasesOf(const v1::Trace& trace) {
  std::vector<Phase> phases;
  std::optional<int64_t> prepared, loading;
  for (const v1::Step& step : trace.steps()) {
    if (step.name() == "queue") phases.push_back({'q', step.start_us(), EndOf(step)});
    if (step.name() == "take sandbox") phases.push_back({'t', step.start_us(), EndOf(step)});
    if (step.name() == "prepare") prepared = step.start_us();
    if (step.name() == "load") {
      loading = step.start_us();
      phases.push_back({'l', step.start_us(), EndOf(step)});
    }
    if (step.name() == "handler") phases.push_back({'h', step.start_us(), EndOf(step)});
  }
  if (prepared && loading) phases.push_back({'s', *prepared, *loading});
  std::stable_sort(phases.begin(), phases.end(),
                   [](const Phase& a, const Phase& b) { return a.begin_us < b.begin_us; });
  return phases;
}

std::string StartOf(const v1::InvocationTrace& trace) {
  return trace.loaded_ahead() ? "ahead" : StartName(trace.start_kind());
}

// Numbers for names, in the order in which they come.
class Numbers {
 public:
  int64_t Of(const std::string& name) {
    return numbers_.try_emplace(name, static_cast<int64_t>(numbers_.size()) + 1).first->second;
  }
  const std::map<std::string, int64_t>& all() const { return numbers_; }

 private:
  std::map<std::string, int64_t> numbers_;
};

ordered_json Slice(const std::string& name, const std::string& category, int64_t pid, int64_t tid,
                   int64_t at_us, uint64_t duration_us) {
  return {{"name", name}, {"cat", category}, {"ph", "X"},         {"pid", pid},
          {"tid", tid},   {"ts", at_us},     {"dur", duration_us}};
}

ordered_json NameEvent(const char* what, const std::string& name, int64_t pid, int64_t tid) {
  return {{"name", what}, {"ph", "M"}, {"pid", pid}, {"tid", tid}, {"args", {{"name", name}}}};
}

}  // namespace

const char* const kWaterfallLegend =
    "q queue, t take a sandbox, s start and confine, l load the function, h handler, . answer";

std::string PhaseBar(const v1::Trace& trace, uint64_t span_us, size_t columns) {
  const auto width = static_cast<int64_t>(std::max<size_t>(columns, 1));
  const auto span = static_cast<double>(std::max<uint64_t>(span_us, 1));
  const auto column = [&](int64_t at_us) {
    // As a double: times are the daemon's word, and products of them may not fit.
    const double at = static_cast<double>(at_us) * static_cast<double>(width) / span;
    return static_cast<int64_t>(std::clamp(at, 0.0, static_cast<double>(width)));
  };
  const auto total_us = static_cast<int64_t>(std::min<uint64_t>(trace.total_us(), INT64_MAX));
  std::string bar(static_cast<size_t>(width), ' ');
  const auto draw = [&](char letter, int64_t begin_us, int64_t end_us) {
    const int64_t from = std::min(column(begin_us), width - 1);
    const int64_t to = std::max(column(end_us), from + 1);
    std::fill(bar.begin() + from, bar.begin() + to, letter);
  };
  draw('.', 0, total_us);
  for (const Phase& phase : PhasesOf(trace)) draw(phase.letter, phase.begin_us, phase.end_us);
  bar.erase(bar.find_last_not_of(' ') + 1);
  return bar;
}

std::string WaterfallText(const Traces& traces, size_t columns, bool bold_header) {
  uint64_t span_us = 1;
  for (const v1::InvocationTrace& trace : traces)
    span_us = std::max(span_us, trace.trace().total_us());
  Table table({{"RECEIVED"},
               {"REQUEST"},
               {"VERSION"},
               {"START"},
               {"RESULT"},
               {"TOTAL", Align::kRight},
               {fmt::format("0 .. {}", HumanMicroseconds(span_us))}});
  for (auto trace = traces.rbegin(); trace != traces.rend(); ++trace) {
    const std::string time = HumanTime(trace->received_unix_us() / 1000);
    table.Add({fmt::format("{}.{:03}", time, trace->received_unix_us() / 1000 % 1000),
               trace->request_id().substr(0, 8), trace->executed_version(), StartOf(*trace),
               trace->failure().empty() ? "ok" : trace->failure(),
               HumanMicroseconds(trace->trace().total_us()),
               PhaseBar(trace->trace(), span_us, columns)});
  }
  return table.Text(bold_header);
}

ordered_json ChromeTrace(const std::string& function, const Traces& traces) {
  auto events = ordered_json::array();
  Numbers instances, processes;
  const int64_t whole = processes.Of("invocation");
  std::map<int64_t, std::map<std::string, int64_t>> named;  // threads by instance
  for (auto trace = traces.rbegin(); trace != traces.rend(); ++trace) {
    const int64_t pid = instances.Of(trace->instance_id());
    named[pid]["invocation"] = whole;
    ordered_json slice = Slice(function + " " + trace->request_id(), StartOf(*trace), pid, whole,
                               trace->received_unix_us(), trace->trace().total_us());
    slice["args"] = {{"request_id", trace->request_id()},
                     {"instance_id", trace->instance_id()},
                     {"start_kind", StartName(trace->start_kind())},
                     {"loaded_ahead", trace->loaded_ahead()},
                     {"function_version", trace->function_version()},
                     {"executed_version", trace->executed_version()},
                     {"failure", trace->failure()}};
    events.push_back(std::move(slice));
    for (const v1::Step& step : trace->trace().steps()) {
      const int64_t tid = processes.Of(step.process());
      named[pid][step.process()] = tid;
      events.push_back(Slice(step.name(), step.process(), pid, tid,
                             trace->received_unix_us() + step.start_us(), step.duration_us()));
    }
  }
  for (const auto& [instance, pid] : instances.all()) {
    events.push_back(NameEvent("process_name", "instance " + instance, pid, 0));
    for (const auto& [process, tid] : named[pid])
      events.push_back(NameEvent("thread_name", process, pid, tid));
  }
  return {{"displayTimeUnit", "ms"}, {"traceEvents", std::move(events)}};
}

}  // namespace spore::cli
