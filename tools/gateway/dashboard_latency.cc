#include "tools/gateway/dashboard_latency.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

namespace spore::gateway {
namespace {

using nlohmann::json;

// The bin of b holds what took from 2^(b/3) to 2^((b+1)/3) microseconds.
constexpr int kBinsPerOctave = 3;

json KindJson(const v1::Histogram& histogram) {
  std::map<int, uint64_t> bins;
  for (const v1::HistogramBucket& bucket : histogram.buckets()) {
    const double us = static_cast<double>(std::max<uint64_t>(bucket.up_to_us(), 1));
    bins[static_cast<int>(std::log2(us) * kBinsPerOctave)] += bucket.count();
  }
  json list = json::array();
  for (const auto& [bin, count] : bins) list.push_back({bin, count});
  return {{"count", histogram.count()},
          {"p50_us", PercentileUs(histogram, 0.5)},
          {"p99_us", PercentileUs(histogram, 0.99)},
          {"bins", std::move(list)}};
}

// All start kinds together.
v1::Histogram Sum(const v1::Figures& figures) {
  std::map<uint64_t, uint64_t> buckets;
  v1::Histogram sum;
  for (const auto& [kind, histogram] : figures.total()) {
    sum.set_count(sum.count() + histogram.count());
    for (const auto& bucket : histogram.buckets()) buckets[bucket.up_to_us()] += bucket.count();
  }
  for (const auto& [up_to_us, count] : buckets) {
    v1::HistogramBucket* bucket = sum.add_buckets();
    bucket->set_up_to_us(up_to_us);
    bucket->set_count(count);
  }
  return sum;
}

json FiguresJson(const v1::Figures& figures) {
  json kinds = json::object();
  for (const auto& [kind, histogram] : figures.total()) kinds[kind] = KindJson(histogram);
  const v1::Histogram all = Sum(figures);
  return {{"invocations", figures.invocations()},
          {"failures", figures.failures()},
          {"failures_by_cause", figures.failures_by_cause()},
          {"refusals_by_cause", figures.refusals_by_cause()},
          {"p50_us", PercentileUs(all, 0.5)},
          {"p99_us", PercentileUs(all, 0.99)},
          {"kinds", std::move(kinds)}};
}

}  // namespace

uint64_t PercentileUs(const v1::Histogram& histogram, double fraction) {
  const double wanted = fraction * static_cast<double>(histogram.count());
  double seen = 0;
  for (const v1::HistogramBucket& bucket : histogram.buckets()) {
    seen += static_cast<double>(bucket.count());
    if (seen >= wanted) return bucket.up_to_us();
  }
  return histogram.buckets().empty() ? 0 : histogram.buckets().rbegin()->up_to_us();
}

json LatencyJson(const v1::HistogramsResponse& response) {
  json functions = json::object();
  for (const v1::Figures& figures : response.functions())
    functions[figures.function()] = FiguresJson(figures);
  return {{"bins_per_octave", kBinsPerOctave},
          {"all", FiguresJson(response.figures())},
          {"functions", std::move(functions)}};
}

}  // namespace spore::gateway
