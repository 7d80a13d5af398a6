#include "daemon/history/history.h"

#include <chrono>

#include "daemon/common/random_id.h"
#include "daemon/common/text.h"
#include "daemon/loop/event_loop.h"

namespace spore {
namespace {

constexpr uint64_t kRefusalPauseNs = 1'000'000'000;

std::string LowerName(v1::HostEvent::Kind kind) {
  std::string name = v1::HostEvent::Kind_Name(kind);
  for (char& c : name) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return name;
}

template <size_t kMost>
std::string TextOf(const ShortText<kMost>& text) {
  return ValidUtf8(text.view(), kMost);
}

}  // namespace

History::History() : epoch_(NewInstanceId()) {}

History::Ring History::RingOf(const Happening& happening) {
  switch (happening.kind) {
    case v1::HostEvent::INSTANCE_STARTED:
    case v1::HostEvent::SESSION_STARTED:
      return kStarts;
    case v1::HostEvent::INSTANCE_ENDED:
    case v1::HostEvent::SESSION_ENDED:
      return happening.cause == Cause::kEviction ? kStarts : kBad;
    case v1::HostEvent::REQUEST_REFUSED:
      return kBad;
    default:
      return kOthers;
  }
}

void History::Add(const Happening& happening) {
  const Ring ring = RingOf(happening);
  std::vector<Kept>& entries = rings_.at(ring);
  const size_t place = added_to_.at(ring)++ % kRing;
  if (place == entries.size()) entries.emplace_back();
  Kept& kept = entries[place];
  kept.sequence = ++last_;
  kept.unix_us = std::chrono::duration_cast<std::chrono::microseconds>(
                     std::chrono::system_clock::now().time_since_epoch())
                     .count();
  kept.facts = happening;
  kept.function = happening.function;
  kept.set = happening.set;
  kept.instance_id = happening.instance_id;
  kept.image = happening.image;
  kept.message = happening.message;
  ++counts_.at(static_cast<size_t>(happening.kind));
  if (added_) added_();
}

void History::AddRefusal(const std::string& function, uid_t owner, Cause cause,
                         std::string_view message) {
  const size_t hash = std::hash<std::string>()(function) ^ owner * 31u ^ static_cast<size_t>(cause);
  Refusals& refusals = refusals_.at(hash % refusals_.size());
  const uint64_t now = MonotonicNs();
  const bool same = refusals.function == function && refusals.owner == owner &&
                    refusals.cause == cause && refusals.told_ns != 0;
  if (same && now - refusals.told_ns < kRefusalPauseNs) {
    ++refusals.untold;
    return;
  }
  Happening happening;
  happening.kind = v1::HostEvent::REQUEST_REFUSED;
  happening.owner = owner;
  happening.cause = cause;
  happening.function = function;
  happening.message = message;
  happening.count = 1 + (same ? refusals.untold : 0);
  refusals = {function, owner, cause, now, 0};
  Add(happening);
}

// By sequence.
std::vector<const History::Kept*> History::After(uint64_t sequence) const {
  std::vector<const Kept*> found;
  for (size_t ring = 0; ring < kRings; ++ring) {
    const std::vector<Kept>& entries = rings_.at(ring);
    // From the youngest back.
    for (size_t i = 1; i <= entries.size(); ++i) {
      const Kept& kept = entries[(added_to_.at(ring) - i) % kRing];
      if (kept.sequence <= sequence) break;
      found.push_back(&kept);
    }
  }
  std::sort(found.begin(), found.end(),
            [](const Kept* a, const Kept* b) { return a->sequence < b->sequence; });
  return found;
}

v1::HostEvent History::Describe(const Kept& kept) {
  const HappeningFacts& facts = kept.facts;
  v1::HostEvent event;
  event.set_sequence(kept.sequence);
  event.set_unix_us(kept.unix_us);
  event.set_kind(facts.kind);
  event.set_function(TextOf(kept.function));
  event.set_instance_id(TextOf(kept.instance_id));
  event.set_image(TextOf(kept.image));
  event.set_set(TextOf(kept.set));
  event.set_cause(NameOf(facts.cause));
  event.set_start_kind(facts.start_kind);
  event.set_message(TextOf(kept.message));
  event.set_count(facts.count);
  event.set_duration_us(facts.duration_us);
  event.set_memory_peak_bytes(facts.memory_peak_bytes);
  event.set_cpu_us(facts.cpu_us);
  event.set_owner_uid(facts.owner.value_or(0));
  return event;
}

v1::RecentEventsResponse History::Read(const v1::RecentEventsRequest& request,
                                       const Visible& visible) const {
  v1::RecentEventsResponse response;
  response.set_epoch(epoch_);
  response.set_restarted(!request.epoch().empty() && request.epoch() != epoch_);
  const uint64_t after = response.restarted() ? 0 : request.after_sequence();
  std::vector<const Kept*> found = After(after);
  uint64_t there = 0;  // of those up to the last one that is told
  const auto may_see = [&](const Kept* kept) {
    return !kept->facts.owner || visible(*kept->facts.owner);
  };
  if (after == 0 && request.tail() != 0) {
    std::erase_if(found, [&](const Kept* kept) { return !may_see(kept); });
    if (found.size() > request.tail())
      found.erase(found.begin(), found.end() - static_cast<ptrdiff_t>(request.tail()));
  }
  const size_t limit =
      request.limit() == 0 ? kMostAtOnce : std::min<size_t>(request.limit(), kMostAtOnce);
  response.set_last_sequence(last_);
  for (const Kept* kept : found) {
    if (static_cast<size_t>(response.events_size()) == limit) {
      response.set_last_sequence(kept->sequence - 1);
      break;
    }
    ++there;
    if (may_see(kept)) *response.add_events() = Describe(*kept);
  }
  // Of the asker's own and of others': numbers are given to all alike.
  if (after != 0) response.set_dropped(response.last_sequence() - after - there);
  return response;
}

std::map<std::string, uint64_t> History::Counts() const {
  std::map<std::string, uint64_t> counts;
  for (size_t i = 0; i < counts_.size(); ++i) {
    if (counts_.at(i) != 0) counts[LowerName(static_cast<v1::HostEvent::Kind>(i))] = counts_.at(i);
  }
  return counts;
}

}  // namespace spore
