#include "daemon/events/async_queue.h"

#include <algorithm>
#include <iterator>

namespace spore {
namespace {

constexpr int64_t kMostRetryDelayMs = 3'600'000;
constexpr int64_t kFirstPostponeMs = 100;
constexpr int64_t kMostPostponeMs = 30'000;

int64_t Doubled(int64_t first, uint32_t times, int64_t most) {
  int64_t delay = first;
  for (uint32_t i = 0; i < times && delay < most; ++i) delay *= 2;
  return std::min(delay, most);
}

// Calls `visit` with each entry of a map, from the one after `key` on and around, until it is true.
template <typename Map, typename Key, typename Visit>
bool VisitFrom(Map& map, const Key& key, Visit visit) {
  const auto start = map.upper_bound(key);
  for (auto it = start; it != map.end(); ++it) {
    if (visit(*it)) return true;
  }
  for (auto it = map.begin(); it != start; ++it) {
    if (visit(*it)) return true;
  }
  return false;
}

}  // namespace

void AsyncQueue::Add(AsyncTicket ticket) {
  const int64_t seq = ticket.seq;
  later_.emplace(ticket.due_ms, seq);
  expiries_.emplace(ticket.expires_ms, seq);
  tickets_.emplace(seq, std::move(ticket));
}

AsyncTicket AsyncQueue::TakeOut(int64_t seq) {
  AsyncTicket ticket = std::move(tickets_.extract(seq).mapped());
  expiries_.erase({ticket.expires_ms, seq});
  if (later_.erase({ticket.due_ms, seq}) == 0) {
    Owner& owner = owners_.at(ticket.owner);
    const auto function = owner.due.find(ticket.function);
    function->second.erase({ticket.due_ms, seq});
    if (function->second.empty()) owner.due.erase(function);
    --due_;
    DropIfUnused(ticket.owner);
  }
  return ticket;
}

void AsyncQueue::DropIfUnused(uid_t owner) {
  const auto found = owners_.find(owner);
  if (found != owners_.end() && found->second.in_flight == 0 && found->second.due.empty())
    owners_.erase(found);
}

std::optional<AsyncTicket> AsyncQueue::Remove(int64_t seq) {
  if (!tickets_.contains(seq)) return std::nullopt;
  return TakeOut(seq);
}

std::vector<AsyncTicket> AsyncQueue::RemoveAllOf(const std::string& function) {
  std::vector<int64_t> seqs;
  for (const auto& [seq, ticket] : tickets_) {
    if (ticket.function == function) seqs.push_back(seq);
  }
  std::vector<AsyncTicket> removed;
  for (const int64_t seq : seqs) removed.push_back(TakeOut(seq));
  return removed;
}

void AsyncQueue::MoveDue(int64_t now_ms) {
  while (!later_.empty() && later_.begin()->first <= now_ms) {
    const auto time = *later_.begin();
    later_.erase(later_.begin());
    const AsyncTicket& ticket = tickets_.at(time.second);
    owners_[ticket.owner].due[ticket.function].insert(time);
    ++due_;
  }
}

std::optional<int64_t> AsyncQueue::NextOf(const Owner& owner, const MayRun& may_run) const {
  if (owner.in_flight >= limits_.owner_in_flight) return std::nullopt;
  std::optional<int64_t> chosen;
  VisitFrom(owner.due, owner.last, [&](const auto& function) {
    const int64_t seq = function.second.begin()->second;
    if (may_run(tickets_.at(seq))) chosen = seq;
    return chosen.has_value();
  });
  return chosen;
}

std::optional<AsyncTicket> AsyncQueue::Next(int64_t now_ms, const MayRun& may_run) {
  MoveDue(now_ms);
  if (in_flight_ >= limits_.in_flight) return std::nullopt;
  std::optional<int64_t> chosen;
  VisitFrom(owners_, last_owner_, [&](const auto& owner) {
    chosen = NextOf(owner.second, may_run);
    return chosen.has_value();
  });
  if (!chosen) return std::nullopt;
  const uid_t uid = tickets_.at(*chosen).owner;
  Owner& owner = owners_.at(uid);
  ++owner.in_flight;  // before it is taken out: keeps the owner
  ++in_flight_;
  AsyncTicket ticket = TakeOut(*chosen);
  owner.last = ticket.function;
  last_owner_ = uid;
  return ticket;
}

void AsyncQueue::Landed(uid_t owner) {
  --owners_.at(owner).in_flight;
  --in_flight_;
  DropIfUnused(owner);
}

std::vector<AsyncTicket> AsyncQueue::TakeExpired(int64_t now_ms) {
  std::vector<AsyncTicket> expired;
  while (!expiries_.empty() && expiries_.begin()->first <= now_ms)
    expired.push_back(TakeOut(expiries_.begin()->second));
  return expired;
}

bool AsyncQueue::Expedite(int64_t seq, int64_t now_ms) {
  auto ticket = Remove(seq);
  if (!ticket) return false;
  ticket->due_ms = std::min(ticket->due_ms, now_ms);
  ticket->postponed = 0;
  Add(std::move(*ticket));
  return true;
}

std::optional<int64_t> AsyncQueue::NextTime() const {
  if (expiries_.empty()) return std::nullopt;
  const int64_t expiry = expiries_.begin()->first;
  return later_.empty() ? expiry : std::min(expiry, later_.begin()->first);
}

Result<> AsyncQuota::Take(uid_t owner, uint64_t bytes) {
  const auto found = owners_.find(owner);
  const Held held = found == owners_.end() ? Held{} : found->second;
  const auto full = [&](const std::string& whose, const std::string& what, const std::string& key) {
    return MakeError(ErrorKind::kOverloaded,
                     whose + " has " + what +
                         " that wait, run or are dead letters, the most it may (" + key + ")",
                     "try again later, or purge some: spore async ls, purge");
  };
  const std::string uid = "uid " + std::to_string(owner);
  if (owner != 0 && held.events >= limits_.owner_events)
    return full(uid, std::to_string(held.events) + " events", "async.client-events");
  if (owner != 0 && held.bytes + bytes > limits_.owner_bytes)
    return full(uid, std::to_string(held.bytes) + " bytes of events", "async.client-bytes");
  if (all_.events >= limits_.events)
    return full("the host", std::to_string(all_.events) + " events", "async.max-events");
  if (all_.bytes + bytes > limits_.bytes)
    return full("the host", std::to_string(all_.bytes) + " bytes of events", "async.max-bytes");
  TakeAnyway(owner, bytes);
  return {};
}

void AsyncQuota::TakeAnyway(uid_t owner, uint64_t bytes) {
  for (Held* held : {&all_, &owners_[owner]}) {
    ++held->events;
    held->bytes += bytes;
  }
}

void AsyncQuota::Return(uid_t owner, uint64_t bytes) {
  const auto found = owners_.find(owner);
  if (found == owners_.end()) return;
  for (Held* held : {&all_, &found->second}) {
    --held->events;
    held->bytes -= bytes;
  }
  if (found->second.events == 0) owners_.erase(found);
}

int64_t RetryDelayMs(int64_t backoff_ms, uint32_t failures) {
  return Doubled(backoff_ms, failures - 1, kMostRetryDelayMs);
}

int64_t PostponeDelayMs(uint32_t times) {
  return Doubled(kFirstPostponeMs, times, kMostPostponeMs);
}

AttemptVerdict Judge(const AttemptFacts& facts) {
  using Fact = AttemptFacts::Kind;
  using Verdict = AttemptVerdict::Kind;
  AttemptVerdict verdict;
  verdict.attempts = facts.attempts;
  switch (facts.kind) {
    case Fact::kInterrupted:
      verdict.kind = Verdict::kLeave;
      return verdict;
    case Fact::kSucceeded:
      ++verdict.attempts;
      verdict.condition = "Success";
      return verdict;
    case Fact::kRemoved:
      verdict.kind = Verdict::kGivenUp;
      verdict.condition = "FunctionRemoved";
      return verdict;
    case Fact::kRefused:
      verdict.kind = Verdict::kGivenUp;
      verdict.condition = "Refused";
      return verdict;
    case Fact::kFailed:
      ++verdict.attempts;
      if (verdict.attempts >= facts.max_attempts) {
        verdict.kind = Verdict::kGivenUp;
        verdict.condition = "RetriesExhausted";
        return verdict;
      }
      verdict.due_ms = facts.now_ms + RetryDelayMs(facts.backoff_ms, verdict.attempts);
      break;
    case Fact::kPostponed:
      verdict.due_ms = facts.now_ms + PostponeDelayMs(facts.postponed);
      break;
  }
  verdict.kind = Verdict::kAgain;
  if (verdict.due_ms < facts.expires_ms) return verdict;
  verdict.kind = Verdict::kGivenUp;
  verdict.condition = "EventAgeExceeded";
  return verdict;
}

}  // namespace spore
