// The timed steps of one invocation, from several processes, on one clock. Kept in fixed space,
// with numbers for names: every invocation has its trace, and few are ever looked at.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "spore/v1/spore.pb.h"
#include "zygote/protocol.h"

namespace spore {

enum class StepProcess : uint8_t { kSpored, kZygote, kSandbox, kInstance };
// Those that spored itself knows. Names that other processes send have numbers behind these.
enum class StepName : uint8_t { kQueue, kTakeSandbox, kPrepare, kSend, kLoad, kHandler, kOthers };

struct KeptStep {
  int64_t start_us;  // since the trace's base
  uint64_t duration_us;
  StepProcess process;
  StepName name;
};

class TraceLog {
 public:
  // What comes after so many is left out.
  static constexpr size_t kMaxSteps = 40;

  // `base_ns` is the moment the whole request had been read (CLOCK_MONOTONIC).
  explicit TraceLog(uint64_t base_ns) : base_ns_(base_ns) {}

  // A step of spored.
  void Add(StepName name, uint64_t start_ns, uint64_t end_ns) {
    AddOf(StepProcess::kSpored, name, start_ns, end_ns);
  }
  void AddOf(StepProcess process, StepName name, uint64_t start_ns, uint64_t end_ns);
  // Steps another process sent; times that make no sense are left out.
  void AddWire(StepProcess process, const wire::Steps& steps);
  v1::Trace Build(uint64_t end_ns) const;
  uint64_t base_ns() const { return base_ns_; }
  std::span<const KeptStep> steps() const { return {steps_.data(), count_}; }

 private:
  uint64_t base_ns_;
  size_t count_ = 0;
  std::array<KeptStep, kMaxSteps> steps_;  // not set beyond count_
};

// For people, sorted by start.
v1::Trace BuildTrace(std::span<const KeptStep> steps, uint64_t total_us);

}  // namespace spore
