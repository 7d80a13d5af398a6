// The timed steps of one invocation, from several processes, on one clock.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "spore/v1/spore.pb.h"
#include "zygote/protocol.h"

namespace spore {

class TraceLog {
 public:
  // `base_ns` is the moment the whole request had been read (CLOCK_MONOTONIC).
  explicit TraceLog(uint64_t base_ns) : base_ns_(base_ns) {}

  // A step of spored.
  void Add(std::string name, uint64_t start_ns, uint64_t end_ns) {
    AddOf("spored", std::move(name), start_ns, end_ns);
  }
  void AddOf(std::string process, std::string name, uint64_t start_ns, uint64_t end_ns);
  // Steps another process sent; times that make no sense are left out.
  void AddWire(const std::string& process, const wire::Steps& steps);
  v1::Trace Build(uint64_t end_ns) const;  // sorted by start
  uint64_t base_ns() const { return base_ns_; }

 private:
  uint64_t base_ns_;
  std::vector<v1::Step> steps_;
};

}  // namespace spore
