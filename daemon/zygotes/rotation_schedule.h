// When an image's zygote is to be replaced by a fresh one: by its age, by its forks, and, after a
// replacement that failed, not before some time has passed.
//
// No clock, no timer, no chance: all three are the caller's.
#pragma once

#include <cstdint>
#include <optional>

namespace spore {

class RotationSchedule {
 public:
  // 0: never for that reason.
  struct Limits {
    uint64_t max_age_ns = 0;
    uint64_t max_forks = 0;
  };
  explicit RotationSchedule(const Limits& limits) : limits_(limits) {}

  // A fresh zygote serves from now on. `chance`, any number, takes up to a tenth off both limits,
  // so that zygotes that were started together are not all replaced together.
  void Began(uint64_t now_ns, uint64_t chance);
  // No zygote serves.
  void Ended();
  // It could not be replaced.
  void Failed(uint64_t now_ns);

  // When the zygote, having been forked so often, is to be replaced; nothing: not as things stand.
  std::optional<uint64_t> DueNs(uint64_t forks) const;
  // The fork with which DueNs changes; 0: there is none.
  uint64_t last_fork() const { return last_fork_; }
  uint32_t failures() const { return failures_; }  // in a row

 private:
  Limits limits_;
  bool serves_ = false;
  std::optional<uint64_t> end_ns_;  // of its age
  uint64_t last_fork_ = 0;
  uint32_t failures_ = 0;
  uint64_t retry_ns_ = 0;
};

}  // namespace spore
