// What was measured, as a table for people and as JSON.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "tools/bench/bursts.h"
#include "tools/bench/concurrent.h"
#include "tools/bench/memory.h"
#include "tools/bench/samples.h"

namespace spore::bench {

struct Row {
  std::string name;
  std::string label;                // what others call it whose multiples are told: "fresh"
  std::optional<std::size_t> base;  // index of the row of which this is told as a multiple
  bool starts_processes = false;    // its end leaves work to the kernel and the daemon
  Samples samples;
};

struct Report {
  std::vector<Row> rows;
  std::vector<ConcurrentReport> concurrent;
  std::vector<BurstReport> bursts;
  std::vector<std::string> heaps;     // lines of JSON, as examples/sfork/heap_sizes prints them
  std::vector<MemoryReport> memory;   // by the number of instances, ascending
  std::vector<std::string> left_out;  // peers that could not be measured, and why
};

void PrintTable(const Report& report);
void PrintJson(const Report& report);

}  // namespace spore::bench
