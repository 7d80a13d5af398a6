#include "tools/spore/top_frame.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <tuple>

#include "tools/spore/output.h"
#include "tools/spore/units.h"

namespace spore::cli {
namespace {

using nlohmann::ordered_json;

// Counters only grow, but for a daemon that was started anew.
uint64_t Grown(uint64_t before, uint64_t after) {
  return after >= before ? after - before : after;
}

void AddTo(std::map<uint64_t, uint64_t>& sums, const v1::Histogram& histogram) {
  for (const v1::HistogramBucket& bucket : histogram.buckets())
    sums[bucket.up_to_us()] += bucket.count();
}

std::map<uint64_t, uint64_t> SumsOf(const v1::Figures& figures) {
  std::map<uint64_t, uint64_t> sums;
  for (const auto& [start, histogram] : figures.total()) AddTo(sums, histogram);
  return sums;
}

// What came between two states of the same buckets.
std::map<uint64_t, uint64_t> Between(const std::map<uint64_t, uint64_t>& before,
                                     std::map<uint64_t, uint64_t> after) {
  for (auto& [bound, count] : after) {
    const auto found = before.find(bound);
    if (found != before.end()) count = Grown(found->second, count);
  }
  return after;
}

uint64_t CountOf(const std::map<uint64_t, uint64_t>& buckets) {
  uint64_t count = 0;
  for (const auto& [bound, in_it] : buckets) count += in_it;
  return count;
}

uint64_t PercentileOf(const std::map<uint64_t, uint64_t>& buckets, double fraction) {
  const double exact = std::ceil(fraction * static_cast<double>(CountOf(buckets)));
  const auto rank = static_cast<uint64_t>(std::max(exact, 1.0));
  uint64_t seen = 0;
  for (const auto& [bound, in_it] : buckets) {
    seen += in_it;
    if (seen >= rank && seen > 0) return bound;
  }
  return 0;
}

class Differences {
 public:
  Differences(const Look& before, const Look& after)
      : same_(before.histograms.epoch() == after.histograms.epoch()),
        before_(same_ ? before : none_),
        after_(after) {
    const uint64_t passed = after.at_ns - std::min(before.at_ns, after.at_ns);
    seconds_ = static_cast<double>(passed) / 1e9;
    if (!same_) seconds_ = std::min(seconds_, static_cast<double>(after.stats.uptime_ms()) / 1e3);
  }
  double Rate(uint64_t before, uint64_t after) const {
    return seconds_ > 0 ? static_cast<double>(Grown(before, after)) / seconds_ : 0;
  }

  void FillWhole(TopFrame* frame) const;
  std::vector<TopFunction> Functions() const;
  std::vector<TopZygote> Zygotes() const;

 private:
  const Look none_;
  bool same_;  // run of the daemon
  const Look& before_;
  const Look& after_;
  double seconds_ = 0;
};

void Differences::FillWhole(TopFrame* frame) const {
  const v1::StatsResponse &was = before_.stats, &is = after_.stats;
  frame->seconds = seconds_;
  frame->uptime_ms = is.uptime_ms();
  frame->queued = is.queued();
  frame->ready = is.sandboxes_ready();
  frame->spare = is.sandboxes_spare();
  frame->daemon_memory_bytes = is.daemon_memory_bytes();
  frame->functions = is.functions();
  frame->instances = is.instances_live();
  frame->idle = is.instances_idle();
  frame->calls = Rate(was.invocations(), is.invocations());
  frame->errors = Rate(was.invocation_errors(), is.invocation_errors());
  frame->runs = Rate(was.runs(), is.runs());
  frame->refused = Rate(was.overloaded(), is.overloaded());
  const auto buckets =
      Between(SumsOf(before_.histograms.figures()), SumsOf(after_.histograms.figures()));
  frame->answered = CountOf(buckets);
  frame->p50_us = PercentileOf(buckets, 0.5);
  frame->p99_us = PercentileOf(buckets, 0.99);
  for (const char* kind : {"warm", "fork", "restore", "cold"}) {
    const auto count = [kind](const v1::StatsResponse& stats) {
      const auto found = stats.starts().find(kind);
      return found == stats.starts().end() ? 0 : found->second;
    };
    frame->starts.emplace_back(kind, Rate(count(was), count(is)));
  }
}

std::vector<TopFunction> Differences::Functions() const {
  std::map<std::string, const v1::Figures*> were;
  for (const v1::Figures& figures : before_.histograms.functions())
    were[figures.function()] = &figures;
  std::map<std::string, TopFunction> rows;
  for (const v1::Figures& is : after_.histograms.functions()) {
    const auto found = were.find(is.function());
    const v1::Figures none;
    const v1::Figures& was = found == were.end() ? none : *found->second;
    const auto buckets = Between(SumsOf(was), SumsOf(is));
    TopFunction& row = rows[is.function()];
    row.calls = Rate(was.invocations(), is.invocations());
    row.errors = Rate(was.failures(), is.failures());
    row.answered = CountOf(buckets);
    row.p50_us = PercentileOf(buckets, 0.5);
    row.p99_us = PercentileOf(buckets, 0.99);
  }
  std::map<std::string, uint64_t> cpu_were;
  for (const v1::Instance& instance : before_.instances.instances())
    cpu_were[instance.id()] = instance.cpu_us();
  for (const v1::Instance& instance : after_.instances.instances()) {
    TopFunction& row = rows[instance.function().empty() ? "(runs)" : instance.function()];
    ++row.instances;
    row.busy += instance.state() == v1::Instance::IDLE ? 0u : 1u;
    row.memory_bytes += instance.memory_bytes();
    row.cpus += Rate(cpu_were[instance.id()], instance.cpu_us()) / 1e6;
  }
  std::vector<TopFunction> list;
  for (auto& [name, row] : rows) {
    row.name = name;
    list.push_back(std::move(row));
  }
  return list;
}

std::vector<TopZygote> Differences::Zygotes() const {
  using Key = std::tuple<std::string, std::string, uint64_t>;
  const auto key_of = [](const v1::Zygote& zygote) {
    return Key(zygote.image(), zygote.set(), zygote.generation());
  };
  std::map<Key, uint64_t> forks_were;
  for (const v1::Zygote& zygote : before_.zygotes.zygotes())
    forks_were[key_of(zygote)] = zygote.forks();
  std::vector<TopZygote> list;
  for (const v1::Zygote& zygote : after_.zygotes.zygotes()) {
    if (zygote.state() == v1::Zygote::ABSENT) continue;
    const auto found = forks_were.find(key_of(zygote));
    const uint64_t was = found == forks_were.end() ? 0 : found->second;
    list.push_back({zygote.image(), zygote.set(), StateName(zygote.state()),
                    zygote.sandboxes_ready(), zygote.sandboxes_spare(), zygote.instances(),
                    zygote.memory_bytes(), Rate(was, zygote.forks())});
  }
  return list;
}

void Sort(std::vector<TopFunction>& rows, TopOrder order) {
  const auto key = [order](const TopFunction& row) -> double {
    switch (order) {
      case TopOrder::kCalls:
        return row.calls;
      case TopOrder::kErrors:
        return row.errors;
      case TopOrder::kP99:
        return static_cast<double>(row.p99_us);
      case TopOrder::kMemory:
        return static_cast<double>(row.memory_bytes);
      case TopOrder::kCpu:
        return row.cpus;
      case TopOrder::kName:
        break;
    }
    return 0;
  };
  // They are by name already.
  std::stable_sort(rows.begin(), rows.end(),
                   [&](const TopFunction& a, const TopFunction& b) { return key(a) > key(b); });
}

std::string RateText(double rate) {
  return rate == 0 ? "0" : rate < 10 ? fmt::format("{:.1f}", rate) : fmt::format("{:.0f}", rate);
}

std::string LatencyText(uint64_t answered, uint64_t us) {
  return answered == 0 ? "-" : HumanMicroseconds(us);
}

std::string HeadText(const TopFrame& frame) {
  std::string starts;
  for (const auto& [kind, rate] : frame.starts) {
    if (rate > 0)
      starts += fmt::format("{}{} {}", starts.empty() ? "" : ", ", RateText(rate), kind);
  }
  return fmt::format(
      "up {}, {} functions, {} instances ({} idle), {} queued; {} sandboxes ready, {} spare; "
      "spored {}\n"
      "{} calls/s, {} failed/s, {} refused/s, {} runs/s; p50 {}, p99 {}; starts/s: {}\n",
      HumanMicroseconds(frame.uptime_ms * 1000), frame.functions, frame.instances, frame.idle,
      frame.queued, frame.ready, frame.spare, HumanBytes(frame.daemon_memory_bytes),
      RateText(frame.calls), RateText(frame.errors), RateText(frame.refused), RateText(frame.runs),
      LatencyText(frame.answered, frame.p50_us), LatencyText(frame.answered, frame.p99_us),
      starts.empty() ? "none" : starts);
}

// Line ends in a name would break the picture.
std::string Cell(const std::string& text) {
  std::string cell = Visible(text);
  std::replace(cell.begin(), cell.end(), '\n', ' ');
  std::replace(cell.begin(), cell.end(), '\t', ' ');
  return cell;
}

// The first `columns` characters of each of the first `lines` lines.
std::string Cut(const std::string& text, size_t lines, size_t columns) {
  std::string cut;
  size_t line = 0, column = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\n') {
      cut += '\n';
      column = 0;
      if (++line == lines) break;
      continue;
    }
    const bool continues = (static_cast<unsigned char>(text[i]) & 0xc0) == 0x80;
    if (!continues) ++column;
    if (columns == 0 || column <= columns) cut += text[i];
  }
  return cut;
}

}  // namespace

TopFrame MakeTopFrame(const Look& before, const Look& after, TopOrder order) {
  const Differences differences(before, after);
  TopFrame frame;
  differences.FillWhole(&frame);
  frame.rows = differences.Functions();
  Sort(frame.rows, order);
  frame.zygotes = differences.Zygotes();
  return frame;
}

std::string TopText(const TopFrame& frame, size_t lines, size_t columns, bool bold_header) {
  Table functions({{"FUNCTION"},
                   {"CALLS/s", Align::kRight},
                   {"FAILED/s", Align::kRight},
                   {"P50", Align::kRight},
                   {"P99", Align::kRight},
                   {"INST", Align::kRight},
                   {"BUSY", Align::kRight},
                   {"CPUS", Align::kRight},
                   {"MEMORY", Align::kRight}});
  for (const TopFunction& row : frame.rows) {
    functions.Add({Cell(row.name), RateText(row.calls), RateText(row.errors),
                   LatencyText(row.answered, row.p50_us), LatencyText(row.answered, row.p99_us),
                   fmt::format("{}", row.instances), fmt::format("{}", row.busy),
                   fmt::format("{:.2f}", row.cpus), HumanBytes(row.memory_bytes)});
  }
  Table zygotes({{"ZYGOTE"},
                 {"STATE"},
                 {"FORKS/s", Align::kRight},
                 {"READY", Align::kRight},
                 {"SPARE", Align::kRight},
                 {"INST", Align::kRight},
                 {"MEMORY", Align::kRight}});
  for (const TopZygote& row : frame.zygotes) {
    zygotes.Add({Cell(row.set.empty() ? row.image : row.image + "/" + row.set), Cell(row.state),
                 RateText(row.forks), fmt::format("{}", row.ready), fmt::format("{}", row.spare),
                 fmt::format("{}", row.instances),
                 row.memory_bytes == 0 ? "-" : HumanBytes(row.memory_bytes)});
  }
  std::string below = zygotes.Text(false);
  const std::string head = HeadText(frame);
  const auto count = [](const std::string& text) {
    return static_cast<size_t>(std::count(text.begin(), text.end(), '\n'));
  };
  // Zygotes have their place below the functions; half of the room at most.
  const size_t below_lines =
      lines == 0 ? count(below) : std::min(count(below), lines > 4 ? (lines - 4) / 2 : 0);
  const size_t others = below_lines + count(head) + 2;
  const size_t room = lines == 0 ? 0 : std::max(lines, others + 1) - others;
  std::string text = Cut(head, 0, columns) + "\n" + Cut(functions.Text(false), room, columns);
  if (below_lines > 0) text += "\n" + Cut(below, below_lines, columns);
  if (!bold_header) return text;
  // The first line of the functions' table.
  const size_t begin = count(head) == 0 ? 0 : Cut(head, 0, columns).size() + 1;
  const size_t end = text.find('\n', begin);
  return text.substr(0, begin) + "\x1b[7m" + text.substr(begin, end - begin) + "\x1b[0m" +
         text.substr(end);
}

ordered_json TopJson(const TopFrame& frame) {
  ordered_json json{{"seconds", frame.seconds},
                    {"uptime_ms", frame.uptime_ms},
                    {"functions", frame.functions},
                    {"instances", frame.instances},
                    {"instances_idle", frame.idle},
                    {"queued", frame.queued},
                    {"sandboxes_ready", frame.ready},
                    {"sandboxes_spare", frame.spare},
                    {"daemon_memory_bytes", frame.daemon_memory_bytes},
                    {"calls_per_second", frame.calls},
                    {"failures_per_second", frame.errors},
                    {"refusals_per_second", frame.refused},
                    {"runs_per_second", frame.runs},
                    {"answered", frame.answered},
                    {"p50_us", frame.p50_us},
                    {"p99_us", frame.p99_us}};
  for (const auto& [kind, rate] : frame.starts) json["starts_per_second"][kind] = rate;
  json["rows"] = ordered_json::array();
  for (const TopFunction& row : frame.rows) {
    json["rows"].push_back({{"function", row.name},
                            {"calls_per_second", row.calls},
                            {"failures_per_second", row.errors},
                            {"answered", row.answered},
                            {"p50_us", row.p50_us},
                            {"p99_us", row.p99_us},
                            {"instances", row.instances},
                            {"busy", row.busy},
                            {"cpus", row.cpus},
                            {"memory_bytes", row.memory_bytes}});
  }
  json["zygotes"] = ordered_json::array();
  for (const TopZygote& row : frame.zygotes) {
    json["zygotes"].push_back({{"image", row.image},
                               {"set", row.set},
                               {"state", row.state},
                               {"forks_per_second", row.forks},
                               {"sandboxes_ready", row.ready},
                               {"sandboxes_spare", row.spare},
                               {"instances", row.instances},
                               {"memory_bytes", row.memory_bytes}});
  }
  return json;
}

}  // namespace spore::cli
