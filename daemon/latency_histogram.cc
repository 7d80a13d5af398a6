#include "daemon/latency_histogram.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace spore {

// Values below 2^kSubBits have a bucket each; above, an octave is cut into 2^kSubBits parts.
size_t LatencyHistogram::Index(uint64_t us) {
  if (us < (1u << kSubBits)) return us;
  const unsigned octave = static_cast<unsigned>(std::bit_width(us)) - kSubBits;  // 1, 2, ..
  const uint64_t part = (us >> (octave - 1)) - (1u << kSubBits);
  return (static_cast<size_t>(octave) << kSubBits) + part;
}

uint64_t LatencyHistogram::UpperBound(size_t index) {
  const size_t octave = index >> kSubBits;
  const uint64_t part = index & ((1u << kSubBits) - 1);
  if (octave == 0) return part;
  return (((part + (1u << kSubBits) + 1) << (octave - 1))) - 1;
}

void LatencyHistogram::Add(uint64_t us) {
  ++buckets_[std::min(Index(us), buckets_.size() - 1)];
  ++count_;
}

uint64_t LatencyHistogram::Percentile(double fraction) const {
  if (count_ == 0) return 0;
  const double exact = std::ceil(std::clamp(fraction, 0.0, 1.0) * static_cast<double>(count_));
  const uint64_t rank = std::max<uint64_t>(1, static_cast<uint64_t>(exact));
  uint64_t seen = 0;
  for (size_t i = 0; i < buckets_.size(); ++i) {
    seen += buckets_[i];
    if (seen >= rank) return UpperBound(i);
  }
  return UpperBound(buckets_.size() - 1);
}

}  // namespace spore
