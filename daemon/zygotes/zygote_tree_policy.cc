#include "daemon/zygotes/zygote_tree_policy.h"

#include <algorithm>
#include <cmath>

namespace spore {
namespace {

constexpr double kHalfLifeNs = 60e9;
// Two starts, a minute apart: making it costs about what one start saves.
constexpr double kLeastStarts = 1.5;
constexpr double kLeastWorthUs = 20'000;
// Of a set that was never there.
constexpr uint64_t kAssumedBytes = 16u << 20;
constexpr double kMiB = 1 << 20;
constexpr uint64_t kFirstBackOffNs = 1'000'000'000;
constexpr uint64_t kLongestBackOffNs = 600 * kFirstBackOffNs;

std::string Mebibytes(uint64_t bytes) {
  return std::to_string(bytes >> 20) + " MiB";
}

}  // namespace

void ZygoteTreePolicy::Add(const Key& key, const std::string& parent, bool keep) {
  Entry& entry = entries_[key];
  entry.parent = parent;
  entry.keep = keep;
  entry.reason = "no start has wanted it";
}

double ZygoteTreePolicy::RecentAt(const Entry& entry, uint64_t now_ns) {
  if (entry.recent == 0) return 0;
  const double age_ns =
      now_ns > entry.recent_ns ? static_cast<double>(now_ns - entry.recent_ns) : 0;
  return entry.recent * std::exp2(-age_ns / kHalfLifeNs);
}

// Its own import and those above it.
uint64_t ZygoteTreePolicy::SavesUs(const Key& key) const {
  const Entry& own = entries_.at(key);
  if (own.import_us == 0) return own.hint_us;
  uint64_t saves_us = 0;
  for (auto found = entries_.find(key); found != entries_.end();
       found = entries_.find({key.image, found->second.parent})) {
    saves_us += found->second.import_us;
  }
  return saves_us;
}

uint64_t ZygoteTreePolicy::Size(const Entry& entry) const {
  return entry.bytes > 0 ? entry.bytes : kAssumedBytes;
}

uint64_t ZygoteTreePolicy::MissingBytes(const Key& key) const {
  uint64_t bytes = 0;
  for (auto found = entries_.find(key); found != entries_.end();
       found = entries_.find({key.image, found->second.parent})) {
    if (found->second.state == State::kAbsent) bytes += Size(found->second);
  }
  return bytes;
}

uint64_t ZygoteTreePolicy::HeldBytes() const {
  uint64_t bytes = 0;
  for (const auto& [key, entry] : entries_) {
    if (entry.state != State::kAbsent) bytes += Size(entry);
  }
  return bytes;
}

void ZygoteTreePolicy::SetPriority(const Key& key, Entry& entry) {
  const double mib = std::max(1.0, static_cast<double>(Size(entry)) / kMiB);
  entry.priority = clock_ + entry.recent * static_cast<double>(SavesUs(key)) / mib;
}

void ZygoteTreePolicy::Wanted(const Key& key, uint64_t saves_us, uint64_t now_ns) {
  const auto found = entries_.find(key);
  if (found == entries_.end()) return;
  Entry& entry = found->second;
  entry.recent = RecentAt(entry, now_ns) + 1;
  entry.recent_ns = now_ns;
  entry.wanted_ns = now_ns;
  if (saves_us > 0) entry.hint_us = saves_us;
  SetPriority(key, entry);
}

void ZygoteTreePolicy::Growing(const Key& key) {
  for (auto found = entries_.find(key); found != entries_.end();
       found = entries_.find({key.image, found->second.parent})) {
    if (found->second.state == State::kAbsent) found->second.state = State::kGrowing;
  }
}

void ZygoteTreePolicy::Ready(const Key& key, uint64_t import_us, uint64_t bytes, uint64_t now_ns) {
  const auto found = entries_.find(key);
  if (found == entries_.end()) return;
  Entry& entry = found->second;
  entry.state = State::kReady;
  entry.import_us = std::max<uint64_t>(1, import_us);
  entry.bytes = bytes;
  entry.wanted_ns = now_ns;
  entry.failures = 0;
  entry.retry_ns = 0;
  entry.reason.clear();
  SetPriority(key, entry);
}

void ZygoteTreePolicy::Gone(const Key& key, const std::string& reason, bool failed,
                            uint64_t now_ns) {
  const auto found = entries_.find(key);
  if (found == entries_.end()) return;
  Entry& entry = found->second;
  entry.state = State::kAbsent;
  entry.reason = reason;
  if (!failed) return;
  const uint32_t shift = std::min<uint32_t>(entry.failures, 20);
  entry.retry_ns = now_ns + std::min(kFirstBackOffNs << shift, kLongestBackOffNs);
  ++entry.failures;
  // Those that were to be made from it.
  for (auto& [other, below] : entries_) {
    if (other.image == key.image && below.parent == key.set && below.state == State::kGrowing)
      Gone(other, reason, failed, now_ns);
  }
}

bool ZygoteTreePolicy::HasChildren(const Key& key) const {
  return std::any_of(entries_.begin(), entries_.end(), [&](const auto& held) {
    return held.first.image == key.image && held.second.parent == key.set &&
           held.second.state != State::kAbsent;
  });
}

bool ZygoteTreePolicy::MayGo(const Entries::value_type& held) const {
  return held.second.state == State::kReady && !held.second.keep && !HasChildren(held.first);
}

bool ZygoteTreePolicy::IsAbove(const Key& key, const Key& other) const {
  for (auto found = entries_.find(other); found != entries_.end();
       found = entries_.find({other.image, found->second.parent})) {
    if (found->first == key) return true;
  }
  return false;
}

// Of what may go and is not what `for_whom` is to be made from.
ZygoteTreePolicy::Entries::iterator ZygoteTreePolicy::Least(double below, const Key& for_whom) {
  auto least = entries_.end();
  for (auto held = entries_.begin(); held != entries_.end(); ++held) {
    if (!MayGo(*held) || held->second.priority >= below) continue;
    if (IsAbove(held->first, for_whom)) continue;
    if (least == entries_.end() || held->second.priority < least->second.priority) least = held;
  }
  return least;
}

// Until `bytes` are free for it, those worth less than it; all or nothing.
void ZygoteTreePolicy::MakeRoom(const Key& key, uint64_t bytes, std::vector<Decision>& decisions) {
  const double below = entries_.at(key).priority;
  std::vector<Entries::iterator> go;
  while (HeldBytes() + bytes > limits_.memory_bytes) {
    const auto least = Least(below, key);
    if (least == entries_.end()) {
      for (const auto& kept : go) kept->second.state = State::kReady;
      return;
    }
    least->second.state = State::kAbsent;  // as it soon will be
    go.push_back(least);
  }
  for (const auto& gone : go) {
    clock_ = std::max(clock_, gone->second.priority);
    decisions.push_back({false, gone->first, "its memory is worth more elsewhere"});
  }
}

void ZygoteTreePolicy::DecideShrink(uint64_t now_ns, std::vector<Decision>& decisions) {
  for (auto& held : entries_) {
    if (!MayGo(held) || now_ns < held.second.wanted_ns + limits_.idle_ns) continue;
    decisions.push_back({false, held.first, "no start has wanted it lately"});
  }
  for (const Decision& decision : decisions) {
    Entry& entry = entries_.at(decision.key);
    entry.state = State::kAbsent;
    entry.recent = 0;  // or it would be made again at once
  }
  // Each one when it was made was thought to fit: now its size is known.
  if (HeldBytes() <= limits_.memory_bytes) return;
  while (HeldBytes() > limits_.memory_bytes) {
    const auto least = Least(HUGE_VAL, {});
    if (least == entries_.end()) return;
    clock_ = std::max(clock_, least->second.priority);
    least->second.state = State::kAbsent;
    decisions.push_back({false, least->first,
                         "all may take " + Mebibytes(limits_.memory_bytes) +
                             " together (library-memory), and it was worth the least"});
  }
}

void ZygoteTreePolicy::DecideGrow(uint64_t now_ns, std::vector<Decision>& decisions) {
  std::vector<Entries::value_type*> wanted;
  for (auto& held : entries_) {
    Entry& entry = held.second;
    if (entry.state != State::kAbsent || now_ns < entry.retry_ns) continue;
    const double recent = RecentAt(entry, now_ns);
    if (recent < kLeastStarts || recent * static_cast<double>(SavesUs(held.first)) < kLeastWorthUs)
      continue;
    wanted.push_back(&held);
  }
  std::sort(wanted.begin(), wanted.end(),
            [](const auto* a, const auto* b) { return a->second.priority > b->second.priority; });
  for (Entries::value_type* held : wanted) {
    const uint64_t missing = MissingBytes(held->first);
    if (HeldBytes() + missing > limits_.memory_bytes) MakeRoom(held->first, missing, decisions);
    if (HeldBytes() + missing > limits_.memory_bytes) {
      if (held->second.failures == 0)
        held->second.reason = "no room for it within " + Mebibytes(limits_.memory_bytes) +
                              " (library-memory): what is there is worth more";
      continue;
    }
    Growing(held->first);
    decisions.push_back({true, held->first, "starts want it"});
  }
}

std::vector<ZygoteTreePolicy::Decision> ZygoteTreePolicy::Decide(uint64_t now_ns) {
  std::vector<Decision> decisions;
  DecideShrink(now_ns, decisions);
  if (limits_.memory_bytes > 0) DecideGrow(now_ns, decisions);
  return decisions;
}

bool ZygoteTreePolicy::Idle() const {
  return std::all_of(entries_.begin(), entries_.end(),
                     [](const auto& held) { return held.second.state == State::kAbsent; });
}

void ZygoteTreePolicy::Forget(const Key& key) {
  const auto found = entries_.find(key);
  if (found != entries_.end()) found->second.recent = 0;
}

ZygoteTreePolicy::View ZygoteTreePolicy::Of(const Key& key, uint64_t now_ns) const {
  const auto found = entries_.find(key);
  if (found == entries_.end()) return {};
  const Entry& entry = found->second;
  return {RecentAt(entry, now_ns), entry.import_us, entry.bytes, entry.reason};
}

}  // namespace spore
