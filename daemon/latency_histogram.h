// Latencies in microseconds, counted in buckets of at most 1/32 relative width: constant memory,
// constant time, any percentile within 3.2 %.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace spore {

class LatencyHistogram {
 public:
  void Add(uint64_t us);
  // The smallest bucket bound below which `fraction` (0 to 1) of all values lie; 0 when empty.
  uint64_t Percentile(double fraction) const;
  uint64_t count() const { return count_; }

 private:
  static constexpr unsigned kSubBits = 5;  // 32 buckets an octave
  static constexpr unsigned kOctaves = 40 - kSubBits;
  static size_t Index(uint64_t us);
  static uint64_t UpperBound(size_t index);

  std::array<uint64_t, (kOctaves + 1) << kSubBits> buckets_{};
  uint64_t count_ = 0;
};

}  // namespace spore
