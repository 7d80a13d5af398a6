// Accepts events, has them carried out when it is their time, and records what came of it.
//
// Between the store (what is durable), the queue (who is next) and the invoker. Events yield to
// invocations that somebody waits for: a bounded number is in flight, each only when an instance
// can be had without keeping anybody waiting.
//
// An event is on disk as WAITING until what came of its last attempt has been recorded. A daemon
// that dies before that calls the handler again.
//
// Fault points beside those of AsyncStore: async-dispatch, before an event is given to the invoker;
// async-answered, after the handler has answered and before that is recorded.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "daemon/config/config.h"
#include "daemon/events/async_queue.h"
#include "daemon/events/async_store.h"
#include "daemon/functions/function_store.h"
#include "daemon/functions/work.h"
#include "daemon/history/log_store.h"
#include "daemon/instances/invoker.h"
#include "daemon/loop/event_loop.h"
#include "daemon/rpc/payload_budget.h"
#include "sandbox/sys/result.h"
#include "spore/v1/async.pb.h"

namespace spore {

class AsyncDispatcher {
 public:
  // All borrowed.
  struct Parts {
    EventLoop& loop;
    AsyncStore& store;
    FunctionStore& functions;
    Invoker& invoker;
    PayloadBudget& payloads;
    LogStore& logs;
  };
  AsyncDispatcher(const Parts& parts, const AsyncConfig& config);
  ~AsyncDispatcher();
  AsyncDispatcher(const AsyncDispatcher&) = delete;
  AsyncDispatcher& operator=(const AsyncDispatcher&) = delete;

  // Before the loop runs: what is on disk waits again.
  Result<> Load();
  // The functions are there, and those that wait can be carried out.
  void Start();
  // No more attempts; those in flight are recorded if they still end by themselves.
  void Stop();

  using VersionPtr = std::shared_ptr<const FunctionVersion>;
  struct Asked {
    VersionPtr version;
    std::string payload;
    std::string client_context;
    std::string qualifier;
    std::string origin;
    // In the same transaction, after it.
    std::function<Result<>(AsyncDisk&, const StoredEvent&)> also;
  };
  // `accepted` is given the event's id once it is durable, or why it was not accepted.
  void Accept(Asked asked, std::function<void(Result<std::string>)> accepted);

  using EventDone = std::function<void(Result<v1::AsyncEvent>)>;
  void Retry(const std::string& id_prefix, std::optional<uid_t> owner, EventDone done);
  void PurgeOne(const std::string& id_prefix, std::optional<uid_t> owner,
                std::function<void(Result<uint64_t>)> done);
  void PurgeAll(EventFilter filter, std::function<void(Result<uint64_t>)> done);

  v1::AsyncPolicy PolicyOf(const std::string& function) const;
  void SetPolicy(const v1::AsyncPolicy& policy, std::function<void(Result<>)> done);
  // Its events that wait are given up.
  void FunctionRemoved(const std::string& function);

  bool IsRunning(int64_t seq) const { return flights_.contains(seq); }
  v1::AsyncStatsResponse Describe() const;
  AsyncStore& store() { return parts_.store; }
  void CountFiring(bool accepted) { ++(accepted ? stats_.fired : stats_.misfired); }

 private:
  struct Stats {
    uint64_t accepted = 0, done = 0, failed = 0, retried = 0, dead_lettered = 0, postponed = 0,
             refused = 0, fired = 0, misfired = 0;
  };
  // From the queue's hands until what came of it is recorded.
  struct Flight {
    AsyncTicket ticket;
    std::shared_ptr<StoredEvent> event;  // null: not read yet
    bool counted = true;                 // among the queue's in flight
    std::string executed_version;        // that it was given to
  };
  struct Ending;

  static StoredEvent MakeEvent(const v1::Function& function, const v1::AsyncPolicy& policy,
                               std::string payload, int64_t now_unix_ms);
  void Enqueue(const StoredEvent& event);
  void Cache(std::shared_ptr<StoredEvent> event);
  std::shared_ptr<StoredEvent> TakeCached(int64_t seq);
  void Pump();
  void ArmTimer();
  bool MayRun(const AsyncTicket& ticket) const;
  Result<VersionPtr> VersionFor(const AsyncTicket& ticket) const;
  void Dispatch(AsyncTicket ticket);
  void GiveUp(AsyncTicket ticket, AttemptFacts::Kind kind);
  void Loaded(int64_t seq, Result<> read, std::optional<StoredEvent> event);
  void Run(int64_t seq);
  void Answered(int64_t seq, const WorkResult& result);
  AttemptFacts::Kind KindOf(const AsyncTicket& ticket, const WorkResult& result) const;
  void Conclude(int64_t seq, AttemptFacts::Kind kind, const WorkResult& result);
  void Postpone(int64_t seq, const AttemptVerdict& verdict);
  void ChooseDestination(Ending& ending);
  void Record(const std::shared_ptr<Ending>& ending);
  void Recorded(Ending& ending);
  void Land(int64_t seq);
  void ReturnQuota(const std::vector<ForgottenEvent>& forgotten);
  void PurgeSome(EventFilter filter, uint64_t so_far, std::function<void(Result<uint64_t>)> done);
  void Sweep();
  void Tell(const StoredEvent& event, const std::string& text);

  Parts parts_;
  AsyncConfig config_;
  AsyncQueue queue_;
  AsyncQuota quota_;
  Stats stats_;
  uint64_t dead_ = 0;
  std::map<std::string, v1::AsyncPolicy> policies_;
  std::unordered_map<int64_t, Flight> flights_;
  // Events that have just been accepted, so that they need not be read again.
  std::unordered_map<int64_t, std::shared_ptr<StoredEvent>> cache_;
  uint64_t cached_bytes_ = 0;
  EventLoop::TimerId timer_ = 0;
  EventLoop::TimerId sweep_timer_ = 0;
  bool started_ = false;
  bool stopping_ = false;
  bool pumping_ = false;
  bool record_failed_ = false;  // and has been told
};

}  // namespace spore
