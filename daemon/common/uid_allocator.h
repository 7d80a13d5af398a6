// Hands out the uids of an image's block, one for each live sandbox.
//
// First in, first out: a uid that was given back is used again only after all others, so that what
// a sandbox might have left behind under its uid meets no early successor.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>

namespace spore {

class UidAllocator {
 public:
  UidAllocator(uint32_t first, uint32_t last) : next_(first), last_(last) {}

  std::optional<uint32_t> Take() {
    if (next_ <= last_) return next_++;
    if (returned_.empty()) return std::nullopt;
    const uint32_t uid = returned_.front();
    returned_.pop_front();
    return uid;
  }
  void Return(uint32_t uid) { returned_.push_back(uid); }

 private:
  uint32_t next_;
  uint32_t last_;
  std::deque<uint32_t> returned_;
};

}  // namespace spore
