// What was measured, as a table for people and as JSON.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "tools/bench/concurrent.h"
#include "tools/bench/memory.h"
#include "tools/bench/samples.h"

namespace spore::bench {

enum class Baseline {
  kFresh,   // a fresh sandbox: peers are told as multiples of it
  kReused,  // a reused instance, itself told as a multiple of the relay floor
  kNone,
};

struct Row {
  std::string name;
  Baseline baseline = Baseline::kNone;
  Samples samples;
};

struct Report {
  std::vector<Row> rows;
  std::size_t fresh = 0;  // index of the row that the others are compared with
  std::size_t reused = 0;
  std::size_t relay = 0;
  std::optional<ConcurrentReport> concurrent;
  std::optional<ConcurrentReport> back_to_back;  // one client that never pauses
  std::optional<MemoryReport> memory;
  std::vector<std::string> left_out;  // peers that could not be measured, and why
};

void PrintTable(const Report& report);
void PrintJson(const Report& report);

}  // namespace spore::bench
