// How many sandboxes were wanted at once lately: what a pool is sized by.
//
// Not thread-safe; times are CLOCK_MONOTONIC, ns.
#pragma once

#include <array>
#include <cstdint>

namespace spore {

class Demand {
 public:
  // One more is taken.
  void Count(uint64_t now_ns) { ++At(now_ns / kSlotNs); }
  // The most that were taken within any tenth of a second of the last half minute.
  uint32_t Peak(uint64_t now_ns) const {
    const uint64_t now = now_ns / kSlotNs;
    uint32_t peak = 0;
    for (const Slot& slot : slots_) {
      if (slot.count > peak && slot.number + kSlots > now) peak = slot.count;
    }
    return peak;
  }

 private:
  static constexpr uint64_t kSlotNs = 100'000'000;
  static constexpr uint64_t kSlots = 300;
  struct Slot {
    uint64_t number = 0;
    uint32_t count = 0;
  };
  uint32_t& At(uint64_t number) {
    Slot& slot = slots_[number % kSlots];
    if (slot.number != number) slot = {number, 0};
    return slot.count;
  }
  std::array<Slot, kSlots> slots_{};
};

}  // namespace spore
