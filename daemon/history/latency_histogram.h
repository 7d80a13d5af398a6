// Latencies in microseconds, counted in log-linear buckets: constant memory, constant time. An
// octave is cut into 2^kSubBits parts, so that a percentile is at most so much of it too large.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>

namespace spore {

template <unsigned kSubBits, unsigned kBits>
class LogLinearHistogram {
 public:
  // What is longer than 2^kBits us is counted in the last bucket.
  static constexpr size_t kBuckets = (kBits - kSubBits + 1) << kSubBits;

  void Add(uint64_t us) {
    ++buckets_[std::min(Index(us), kBuckets - 1)];
    ++count_;
    sum_us_ += us;
    max_us_ = std::max(max_us_, us);
  }
  // The smallest bucket bound below which `fraction` (0 to 1) of all values lie; 0 when empty.
  uint64_t Percentile(double fraction) const {
    if (count_ == 0) return 0;
    const double exact = std::ceil(std::clamp(fraction, 0.0, 1.0) * static_cast<double>(count_));
    const uint64_t rank = std::max<uint64_t>(1, static_cast<uint64_t>(exact));
    uint64_t seen = 0;
    for (size_t i = 0; i < kBuckets; ++i) {
      seen += buckets_[i];
      if (seen >= rank) return UpperBound(i);
    }
    return UpperBound(kBuckets - 1);
  }
  uint64_t count() const { return count_; }
  uint64_t sum_us() const { return sum_us_; }
  uint64_t max_us() const { return max_us_; }
  uint64_t bucket(size_t index) const { return buckets_[index]; }

  // Values below 2^kSubBits have a bucket each.
  static size_t Index(uint64_t us) {
    if (us < (1u << kSubBits)) return us;
    const unsigned octave = static_cast<unsigned>(std::bit_width(us)) - kSubBits;  // 1, 2, ..
    const uint64_t part = (us >> (octave - 1)) - (1u << kSubBits);
    return (static_cast<size_t>(octave) << kSubBits) + part;
  }
  // The largest value of a bucket; of the last one, which takes all that is longer, what would be.
  static uint64_t UpperBound(size_t index) {
    const size_t octave = index >> kSubBits;
    const uint64_t part = index & ((1u << kSubBits) - 1);
    if (octave == 0) return part;
    return ((part + (1u << kSubBits) + 1) << (octave - 1)) - 1;
  }

 private:
  std::array<uint64_t, kBuckets> buckets_{};
  uint64_t count_ = 0;
  uint64_t sum_us_ = 0;
  uint64_t max_us_ = 0;
};

// For percentiles within 3.2 %.
using LatencyHistogram = LogLinearHistogram<5, 40>;
// Of which there are many: 2 KB each, within 12.5 %, up to 71 minutes.
using CoarseHistogram = LogLinearHistogram<3, 32>;

}  // namespace spore
