// What `spore top` shows: the difference of two looks at the daemon, as text and as JSON.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "spore/v1/observability.pb.h"
#include "spore/v1/spore.pb.h"

namespace spore::cli {

// What the daemon said at a time.
struct Look {
  uint64_t at_ns = 0;  // CLOCK_MONOTONIC
  v1::StatsResponse stats;
  v1::HistogramsResponse histograms;
  v1::ListInstancesResponse instances;
  v1::ListZygotesResponse zygotes;
};

enum class TopOrder { kCalls, kErrors, kP99, kMemory, kCpu, kName };

struct TopFunction {
  std::string name;              // "(runs)": of no function
  double calls = 0, errors = 0;  // a second
  double cpus = 0;               // that its instances had
  uint64_t answered = 0;         // within the interval; no percentiles when 0
  uint64_t p50_us = 0, p99_us = 0;
  uint64_t instances = 0, busy = 0, memory_bytes = 0;
};

struct TopZygote {
  std::string image, set, state;
  uint64_t ready = 0, spare = 0, instances = 0, memory_bytes = 0;
  double forks = 0;  // a second
};

struct TopFrame {
  double seconds = 0;  // between the looks
  uint64_t uptime_ms = 0, queued = 0, ready = 0, spare = 0, daemon_memory_bytes = 0, functions = 0;
  uint64_t instances = 0, idle = 0;
  double calls = 0, errors = 0, runs = 0, refused = 0;
  uint64_t answered = 0, p50_us = 0, p99_us = 0;
  std::vector<std::pair<std::string, double>> starts;  // a second, by kind
  std::vector<TopFunction> rows;
  std::vector<TopZygote> zygotes;
};

// A daemon that was started anew between them is shown from its start on.
TopFrame MakeTopFrame(const Look& before, const Look& after, TopOrder order);

// At most `lines` lines, cut at `columns`; 0: as many as there are.
std::string TopText(const TopFrame& frame, size_t lines, size_t columns, bool bold_header);
nlohmann::ordered_json TopJson(const TopFrame& frame);

}  // namespace spore::cli
