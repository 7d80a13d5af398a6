// Decides which instance serves which invocation, what waits, what is evicted and what is refused.
//
// Pure bookkeeping: no processes, no clock, no I/O. Every call returns the actions to take; the
// Invoker takes them. A slot is a place for one instance, from the decision to start it until it
// is gone.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "daemon/functions/reserve.h"
#include "sandbox/sys/result.h"

namespace spore {

using TicketId = uint64_t;
using SlotId = uint64_t;

struct SchedulerLimits {
  uint32_t max_instances = 1000;  // on the host
  uint32_t max_queue = 1024;
  uint64_t max_queue_ns = 10'000'000'000;
  uint32_t prepared_at_once = 2;  // of a function
  // Of one client; uid 0 has none of these.
  uint32_t client_instances = 250;
  uint32_t client_queue = 256;
};

// One invocation or run that wants an instance.
struct Ticket {
  TicketId id = 0;
  std::string function;  // empty: a run
  uint64_t version = 0;
  bool reuse = false;          // an idle instance will do
  bool fresh = false;          // nor will one that has loaded the function ahead
  uint32_t max_instances = 0;  // of the function
  uid_t client = 0;            // whose function, or run, it is
  uint64_t now_ns = 0;
  bool again = false;  // it had been placed, with an instance that was dead: first in the queue
};

struct Action {
  enum class Kind {
    kReuse,    // give `ticket` to the idle instance in `slot`
    kStart,    // start an instance in `slot` for `ticket`
    kPrepare,  // start an instance of `function` in `slot` that loads it, for nobody yet
    kEvict,    // kill the idle instance in `slot`
    kRefuse,   // answer `ticket` with `error`
  };
  Kind kind;
  SlotId slot = 0;
  TicketId ticket = 0;
  std::string function;  // of kPrepare
  uint64_t version = 0;  // likewise
  std::string reason;    // why this, in words
  Error error;           // of kRefuse
};
using Actions = std::vector<Action>;

class Scheduler {
 public:
  explicit Scheduler(const SchedulerLimits& limits) : limits_(limits) {}

  Actions Submit(Ticket ticket);
  // Whether such a ticket would get an instance without standing in anybody's way: nobody waits for
  // one of the function, and an instance is idle, can be started, or can be had for an idle one.
  bool HasRoom(const Ticket& ticket) const;
  // The client of a waiting ticket went away. False: it is not waiting.
  bool Cancel(TicketId ticket);
  // Refuses tickets that have waited too long.
  Actions Expire(uint64_t now_ns);
  std::optional<uint64_t> next_expiry_ns() const;

  // The instance can take another invocation (of the same function and version).
  Actions SlotIdle(SlotId slot);
  // The instance is being ended and must not be used again.
  void SlotDying(SlotId slot);
  // The instance is gone with all that it used.
  Actions SlotGone(SlotId slot);

  // These versions can be asked for from now on: idle instances of others are evicted. None: the
  // function was removed.
  Actions Replace(const std::string& function, std::vector<uint64_t> versions);
  // So many instances of all versions together from now on, for those who wait too: idle ones
  // beyond are evicted, busy ones end when they become idle. 0: nobody waits for any.
  Actions SetLimit(const std::string& function, uint32_t max_instances);

  // scheduler_reserve.cc
  // Of the function there are these from now on, at most one a version.
  void SetReserves(const std::string& function, const std::vector<Reserve>& reserves);
  // Whether the instance may be ended for its idleness: its function's reserve is whole without it.
  bool MayEnd(SlotId slot) const;
  // Idle instances that no reserve needs.
  std::vector<SlotId> Evictable() const;
  // Evicts the first `most` of these that still are.
  Actions EvictOf(const std::vector<SlotId>& slots, size_t most, const std::string& reason);
  // Prepares what reserves lack, while there is room and nobody waits.
  Actions Replenish(uint64_t now_ns);
  // The instance in this slot could not be prepared. The function's next one is tried later: after
  // a second, then after twice as long each time, at most five minutes.
  void PrepareFailed(SlotId slot, uint64_t now_ns);
  // When Replenish has something to do; nothing: not before another call.
  std::optional<uint64_t> next_replenish_ns() const;

  size_t live() const { return slots_.size(); }
  size_t idle() const { return idle_by_age_.size(); }
  size_t queued() const { return queue_.size(); }
  uint32_t live_of(const std::string& function) const;

 private:
  struct Reserved {
    Reserve reserve;
    uint32_t live = 0;       // of its version, not dying
    uint32_t preparing = 0;  // of those
    uint32_t failures = 0;
    uint64_t after_ns = 0;
  };
  struct Function {
    std::string name;
    uint32_t live = 0;
    uint32_t queued = 0;
    uint32_t dying = 0;
    std::vector<uint64_t> versions;         // that can be asked for; none: not known
    uint32_t max_instances = 0;             // 0: not known
    std::vector<SlotId> idle;               // the last one was used last
    std::map<uint64_t, Reserved> reserved;  // by version
  };
  // One uid, while it has instances or waits for some.
  struct Client {
    uid_t uid = 0;
    uint32_t live = 0;
    uint32_t queued = 0;
    uint32_t dying = 0;
    std::map<uint64_t, SlotId> idle_by_age;  // the oldest first
  };
  enum class State { kBusy, kIdle, kDying };
  struct Slot {
    Function* function = nullptr;
    Client* client = nullptr;
    uint64_t version = 0;
    State state = State::kBusy;
    uint64_t idle_order = 0;
    bool used = true;  // has been given to a ticket
  };
  struct Waiting {
    Ticket ticket;
    Function* function;
    Client* client;
  };
  enum class Blocked { kNo, kFunction, kClient, kHost };

  SlotId AddSlot(Function& function, Client& client, uint64_t version, bool used);
  std::optional<SlotId> FindIdle(const Ticket& ticket, const Function& function) const;
  std::optional<SlotId> IdleInTheWay(const Waiting& waiting) const;
  void EvictBeyondLimit(Function& function, Actions& actions);
  void RefuseWaiting(Function& function, Actions& actions);
  // Null: nothing of this version is reserved.
  static Reserved* ReservedOf(const Slot& slot);
  uint32_t Lacking(const Function& function, const Reserved& reserved) const;
  uint32_t MayPrepare(const Function& function, const Reserved& reserved) const;
  bool IsReserved(const Slot& slot) const;
  void CountReserved(Function& function, Reserved& reserved);
  std::optional<SlotId> OldestToEvict(const std::map<uint64_t, SlotId>& idle_by_age) const;
  Function& FunctionOf(const std::string& name);
  Client& ClientOf(uid_t uid);
  void DropIfUnused(Function* function, Client* client);
  bool AtItsLimit(const Client& client) const;
  Blocked TryPlace(const Ticket& ticket, Function& function, Client& client, Actions& actions);
  bool MayWait(const Ticket& ticket, const Client& client) const;
  void Enqueue(Ticket ticket, Function& function, Client& client);
  std::list<Waiting>::iterator Dequeue(std::list<Waiting>::iterator waiting);
  void PlaceQueued(Actions& actions);
  void MakeRoom(Actions& actions);
  void TakeFromIdle(SlotId id, Slot& slot);
  void Evict(SlotId id, Actions& actions, std::string reason);
  Error NoInstancesError(const std::string& function) const;
  Error QueueFullError(const Ticket& ticket, const Client& client, Blocked blocked) const;
  Error WaitedTooLongError(const Waiting& waiting) const;

  SchedulerLimits limits_;
  SlotId next_slot_ = 1;
  uint64_t next_idle_order_ = 1;
  uint32_t dying_ = 0;
  std::unordered_map<std::string, std::unique_ptr<Function>> functions_;
  std::unordered_set<Function*> reserved_;  // those with reserves
  std::unordered_map<uid_t, std::unique_ptr<Client>> clients_;
  std::unordered_map<SlotId, Slot> slots_;
  std::map<uint64_t, SlotId> idle_by_age_;  // the oldest first
  std::list<Waiting> queue_;                // first come, first served
};

}  // namespace spore
