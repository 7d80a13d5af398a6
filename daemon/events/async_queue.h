// Which event is carried out next, which has waited too long, and what becomes of one after an
// attempt. Pure bookkeeping: no clock, no I/O; times are milliseconds of one clock that the caller
// chooses.
//
// Fair: owners take turns, and the functions of an owner; of a function who is due first goes
// first. A function without room holds up no other.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "sandbox/sys/result.h"

namespace spore {

struct AsyncTicket {
  int64_t seq = 0;
  uid_t owner = 0;
  std::string function;
  std::string qualifier;
  double draw = 0;  // of this attempt, where the qualifier names two versions
  int64_t due_ms = 0;
  int64_t expires_ms = 0;
  uint32_t postponed = 0;  // times in a row
  uint32_t depth = 0;      // so many events led to it
  uint64_t bytes = 0;      // that it holds
};

class AsyncQueue {
 public:
  struct Limits {
    uint32_t in_flight = 32;
    uint32_t owner_in_flight = 24;
  };
  explicit AsyncQueue(const Limits& limits) : limits_(limits) {}

  void Add(AsyncTicket ticket);
  // Takes out one that waits. Nothing: it does not.
  std::optional<AsyncTicket> Remove(int64_t seq);
  std::vector<AsyncTicket> RemoveAllOf(const std::string& function);
  // One that is due and may run, as `may_run` says; it is in flight from now on, until Landed.
  using MayRun = std::function<bool(const AsyncTicket&)>;
  std::optional<AsyncTicket> Next(int64_t now_ms, const MayRun& may_run);
  void Landed(uid_t owner);
  // Takes out those whose time is over.
  std::vector<AsyncTicket> TakeExpired(int64_t now_ms);
  // Makes one that waits due at once. False: it does not wait.
  bool Expedite(int64_t seq, int64_t now_ms);

  // When something becomes due or expires next; nothing: nobody waits for a time.
  std::optional<int64_t> NextTime() const;
  // Whether some that are due have been left, for reasons other than the limits in flight.
  bool HasDue() const { return due_ > 0 && in_flight_ < limits_.in_flight; }
  size_t waiting() const { return tickets_.size(); }
  uint32_t in_flight() const { return in_flight_; }

 private:
  using Times = std::set<std::pair<int64_t, int64_t>>;  // time and seq
  struct Owner {
    uint32_t in_flight = 0;
    std::map<std::string, Times> due;  // by function; none is empty
    std::string last;                  // function that had its turn last
  };
  void MoveDue(int64_t now_ms);
  AsyncTicket TakeOut(int64_t seq);
  void DropIfUnused(uid_t owner);
  std::optional<int64_t> NextOf(const Owner& owner, const MayRun& may_run) const;

  Limits limits_;
  uint32_t in_flight_ = 0;
  size_t due_ = 0;
  uid_t last_owner_ = 0;
  std::unordered_map<int64_t, AsyncTicket> tickets_;
  Times later_;  // not due yet
  Times expiries_;
  std::map<uid_t, Owner> owners_;
};

// How many events, and bytes of their payloads, may be kept: together, and of one owner. Root (uid
// 0) has no limit of its own.
class AsyncQuota {
 public:
  struct Limits {
    uint64_t events = 100'000;
    uint64_t bytes = 1ull << 30;
    uint64_t owner_events = 10'000;
    uint64_t owner_bytes = 256ull << 20;
  };
  explicit AsyncQuota(const Limits& limits) : limits_(limits) {}

  // kOverloaded, naming the limit, when there is no room.
  Result<> Take(uid_t owner, uint64_t bytes);
  // Of what is there already, whatever the limits are now.
  void TakeAnyway(uid_t owner, uint64_t bytes);
  void Return(uid_t owner, uint64_t bytes);
  uint64_t bytes() const { return all_.bytes; }

 private:
  struct Held {
    uint64_t events = 0;
    uint64_t bytes = 0;
  };
  Limits limits_;
  Held all_;
  std::unordered_map<uid_t, Held> owners_;
};

// What came of one attempt.
struct AttemptFacts {
  enum class Kind {
    kSucceeded,
    kFailed,       // the handler's doing: counts as an attempt
    kRefused,      // for good: this function will never take it
    kPostponed,    // no room for it, or Spore failed: does not count
    kRemoved,      // the function is no more
    kInterrupted,  // the daemon is stopping
  };
  Kind kind = Kind::kSucceeded;
  uint32_t attempts = 0;  // counted before this one
  uint32_t max_attempts = 1;
  uint32_t postponed = 0;  // times in a row, before this one
  int64_t backoff_ms = 0;
  int64_t now_ms = 0;
  int64_t expires_ms = 0;
};
struct AttemptVerdict {
  enum class Kind { kDone, kAgain, kGivenUp, kLeave };
  Kind kind = Kind::kDone;
  uint32_t attempts = 0;
  int64_t due_ms = 0;          // of kAgain
  const char* condition = "";  // of kDone and kGivenUp, in Lambda's words where it has some
};
AttemptVerdict Judge(const AttemptFacts& facts);

// Doubled with each, at most an hour; `failures` counts from 1.
int64_t RetryDelayMs(int64_t backoff_ms, uint32_t failures);
// From a tenth of a second to half a minute.
int64_t PostponeDelayMs(uint32_t times);

}  // namespace spore
