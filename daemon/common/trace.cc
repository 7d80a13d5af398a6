#include "daemon/common/trace.h"

#include <algorithm>
#include <cstring>
#include <string_view>
#include <vector>

namespace spore {
namespace {

constexpr std::array<const char*, 4> kProcesses = {"spored", "zygote", "sandbox", "instance"};
constexpr std::array<const char*, 6> kOwnNames = {"queue", "take sandbox", "prepare",
                                                  "send",  "load",         "handler"};
static_assert(kOwnNames.size() == static_cast<size_t>(StepName::kOthers));

// Names of other processes' steps, which are few and the same each time, by number. They come from
// what runs before a tenant's code does, but are bounded all the same. The loop's thread only.
class OtherNames {
 public:
  StepName NumberOf(std::string_view name) {
    // FNV-1a.
    uint32_t hash = 2166136261u;
    for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 16777619u;
    for (size_t i = 0; i < kSlots; ++i) {
      uint8_t& slot = slots_[(hash + i) % kSlots];
      if (slot == 0) {
        if (names_.size() == kMost) return Number(kMost);
        names_.push_back(Plain(name));
        known_.emplace_back(name);
        slot = static_cast<uint8_t>(names_.size());
      }
      if (known_[slot - 1u] == name) return Number(slot - 1u);
    }
    return Number(kMost);
  }
  const char* NameOf(StepName number) const {
    const size_t index = static_cast<size_t>(number) - static_cast<size_t>(StepName::kOthers);
    return index < names_.size() ? names_[index].c_str() : "other";
  }

 private:
  static constexpr size_t kMost = 200, kSlots = 512;

  static StepName Number(size_t index) {
    return static_cast<StepName>(static_cast<size_t>(StepName::kOthers) + index);
  }
  // Names go into protobuf strings, which must be UTF-8; ours are plain ASCII.
  static std::string Plain(std::string_view name) {
    std::string plain(name);
    for (char& c : plain) {
      if (c < 0x20 || c > 0x7e) c = '?';
    }
    return plain;
  }

  std::array<uint8_t, kSlots> slots_{};  // 1 + index; 0: free
  std::vector<std::string> names_;
  std::vector<std::string> known_;  // as they were sent
};

OtherNames& Others() {
  static OtherNames names;
  return names;
}

const char* NameOf(StepName name) {
  return name < StepName::kOthers ? kOwnNames.at(static_cast<size_t>(name)) : Others().NameOf(name);
}

}  // namespace

void TraceLog::AddOf(StepProcess process, StepName name, uint64_t start_ns, uint64_t end_ns) {
  if (end_ns < start_ns || count_ == kMaxSteps) return;
  steps_[count_++] = {(static_cast<int64_t>(start_ns) - static_cast<int64_t>(base_ns_)) / 1000,
                      (end_ns - start_ns) / 1000, process, name};
}

void TraceLog::AddWire(StepProcess process, const wire::Steps& steps) {
  const uint32_t count = std::min<uint32_t>(steps.count, wire::Steps::kMaxSteps);
  for (uint32_t i = 0; i < count; ++i) {
    const wire::Step& step = steps.step[i];
    const std::string_view name(step.name, strnlen(step.name, sizeof step.name));
    AddOf(process, Others().NumberOf(name), step.start_ns, step.end_ns);
  }
}

v1::Trace TraceLog::Build(uint64_t end_ns) const {
  return BuildTrace(steps(), end_ns > base_ns_ ? (end_ns - base_ns_) / 1000 : 0);
}

v1::Trace BuildTrace(std::span<const KeptStep> steps, uint64_t total_us) {
  std::vector<KeptStep> sorted(steps.begin(), steps.end());
  std::stable_sort(sorted.begin(), sorted.end(),
                   [](const KeptStep& a, const KeptStep& b) { return a.start_us < b.start_us; });
  v1::Trace trace;
  for (const KeptStep& kept : sorted) {
    v1::Step& step = *trace.add_steps();
    step.set_process(kProcesses.at(static_cast<size_t>(kept.process)));
    step.set_name(NameOf(kept.name));
    step.set_start_us(kept.start_us);
    step.set_duration_us(kept.duration_us);
  }
  trace.set_total_us(total_us);
  return trace;
}

}  // namespace spore
