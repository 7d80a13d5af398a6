#include "daemon/zygotes/rotation_schedule.h"

#include <algorithm>

namespace spore {
namespace {

constexpr uint64_t kFirstBackOffNs = 1'000'000'000;
constexpr uint64_t kLongestBackOffNs = 3600 * kFirstBackOffNs;
constexpr uint64_t kParts = 1024;

// Less so many parts of a tenth of it as `chance` says.
uint64_t Shortened(uint64_t limit, uint64_t chance) {
  return limit - limit / 10 * (chance % kParts) / kParts;
}

}  // namespace

void RotationSchedule::Began(uint64_t now_ns, uint64_t chance) {
  serves_ = true;
  failures_ = 0;
  end_ns_.reset();
  if (limits_.max_age_ns > 0) end_ns_ = now_ns + Shortened(limits_.max_age_ns, chance);
  last_fork_ = Shortened(limits_.max_forks, chance / kParts);
}

void RotationSchedule::Ended() {
  serves_ = false;
  failures_ = 0;
  last_fork_ = 0;
}

void RotationSchedule::Failed(uint64_t now_ns) {
  const uint64_t back_off = failures_ < 12
                                ? std::min(kFirstBackOffNs << failures_, kLongestBackOffNs)
                                : kLongestBackOffNs;
  ++failures_;
  retry_ns_ = now_ns + back_off;
}

std::optional<uint64_t> RotationSchedule::DueNs(uint64_t forks) const {
  if (!serves_) return std::nullopt;
  std::optional<uint64_t> due = end_ns_;
  if (last_fork_ > 0 && forks >= last_fork_) due = 0;
  if (due && failures_ > 0) due = std::max(*due, retry_ns_);
  return due;
}

}  // namespace spore
