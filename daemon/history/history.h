// What has happened on this host: starts and ends, deployments, refusals, zygotes and their
// checkpoints, each with a sequence number. Rings of fixed size, one for what happens with every
// fresh start, one for instances that ended badly and for refusals, one for all else, so that the
// many do not push out the few.
#pragma once

#include <sys/types.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "daemon/common/cause.h"
#include "spore/v1/observability.pb.h"
#include "spore/v1/spore.pb.h"

namespace spore {

// Text in place, cut where it is too long.
template <size_t kMost>
class ShortText {
 public:
  static_assert(kMost < 256);
  ShortText& operator=(std::string_view text) {
    size_ = static_cast<uint8_t>(std::min(kMost, text.size()));
    std::copy_n(text.data(), size_, text_.data());
    return *this;
  }
  std::string_view view() const { return {text_.data(), size_}; }

 private:
  uint8_t size_ = 0;
  std::array<char, kMost> text_;  // not set beyond size_
};

struct HappeningFacts {
  v1::HostEvent::Kind kind = v1::HostEvent::KIND_UNSPECIFIED;
  // To whom it is told beside root; nothing: to everybody.
  std::optional<uid_t> owner;
  Cause cause = Cause::kNone;
  v1::StartKind start_kind = v1::START_KIND_UNSPECIFIED;
  uint64_t count = 0;
  uint64_t duration_us = 0;
  uint64_t memory_peak_bytes = 0;
  uint64_t cpu_us = 0;
};
struct Happening : HappeningFacts {
  std::string_view function, instance_id, image, set, message;
};

class History {
 public:
  static constexpr size_t kRing = 1024;  // of each
  static constexpr size_t kMostAtOnce = 1000;

  History();

  void Add(const Happening& happening);
  // A request was refused at a limit, the function's or, if empty, one of a client's runs. One a
  // second is told of each, with the number of them.
  void AddRefusal(const std::string& function, uid_t owner, Cause cause, std::string_view message);

  // What is after `after_sequence` and visible, at most `limit`; the request's fields are checked.
  using Visible = std::function<bool(uid_t owner)>;
  v1::RecentEventsResponse Read(const v1::RecentEventsRequest& request,
                                const Visible& visible) const;
  std::map<std::string, uint64_t> Counts() const;  // by kind
  const std::string& epoch() const { return epoch_; }
  uint64_t last_sequence() const { return last_; }
  // Called after each one.
  void OnAdded(std::function<void()> added) { added_ = std::move(added); }

 private:
  struct Kept {
    uint64_t sequence;
    int64_t unix_us;
    HappeningFacts facts;
    ShortText<64> function, set;
    ShortText<12> instance_id;
    ShortText<88> image;
    ShortText<120> message;
  };
  enum Ring : size_t { kStarts, kBad, kOthers, kRings };
  struct Refusals {  // of one function or client
    std::string function;
    uid_t owner = 0;
    Cause cause = Cause::kNone;
    uint64_t told_ns = 0;
    uint64_t untold = 0;
  };
  static Ring RingOf(const Happening& happening);
  static v1::HostEvent Describe(const Kept& kept);
  std::vector<const Kept*> After(uint64_t sequence) const;

  std::string epoch_;
  uint64_t last_ = 0;
  std::array<std::vector<Kept>, kRings> rings_;
  std::array<uint64_t, kRings> added_to_{};  // the next one's place: this % kRing
  std::array<uint64_t, v1::HostEvent::Kind_ARRAYSIZE> counts_{};
  std::array<Refusals, 64> refusals_;  // by a hash: two that share a place are told more often
  std::function<void()> added_;
};

}  // namespace spore
