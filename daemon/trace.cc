#include "daemon/trace.h"

#include <algorithm>
#include <cstring>

namespace spore {

void TraceLog::AddOf(std::string process, std::string name, uint64_t start_ns, uint64_t end_ns) {
  if (end_ns < start_ns) return;
  v1::Step step;
  step.set_process(std::move(process));
  step.set_name(std::move(name));
  step.set_start_us((static_cast<int64_t>(start_ns) - static_cast<int64_t>(base_ns_)) / 1000);
  step.set_duration_us((end_ns - start_ns) / 1000);
  steps_.push_back(std::move(step));
}

void TraceLog::AddWire(const std::string& process, const wire::Steps& steps) {
  const uint32_t count = std::min<uint32_t>(steps.count, wire::Steps::kMaxSteps);
  for (uint32_t i = 0; i < count; ++i) {
    const wire::Step& step = steps.step[i];
    std::string name(step.name, strnlen(step.name, sizeof step.name));
    // Names go into protobuf strings, which must be UTF-8; ours are plain ASCII.
    for (char& c : name) {
      if (c < 0x20 || c > 0x7e) c = '?';
    }
    AddOf(process, std::move(name), step.start_ns, step.end_ns);
  }
}

v1::Trace TraceLog::Build(uint64_t end_ns) const {
  std::vector<v1::Step> sorted = steps_;
  std::stable_sort(sorted.begin(), sorted.end(), [](const v1::Step& a, const v1::Step& b) {
    return a.start_us() < b.start_us();
  });
  v1::Trace trace;
  for (v1::Step& step : sorted) *trace.add_steps() = std::move(step);
  trace.set_total_us(end_ns > base_ns_ ? (end_ns - base_ns_) / 1000 : 0);
  return trace;
}

}  // namespace spore
