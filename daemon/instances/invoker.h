// Carries out what the scheduler decides: owns the instances, starts, feeds and ends them.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "daemon/functions/import_hints.h"
#include "daemon/functions/work.h"
#include "daemon/history/history.h"
#include "daemon/history/invocation_ledger.h"
#include "daemon/history/latency_histogram.h"
#include "daemon/history/log_store.h"
#include "daemon/images/images.h"
#include "daemon/instances/instance.h"
#include "daemon/instances/scheduler.h"
#include "daemon/loop/event_loop.h"
#include "sandbox/sys/result.h"
#include "spore/v1/spore.pb.h"

namespace spore {

struct InvokerStats {
  uint64_t invocations = 0;
  uint64_t invocation_errors = 0;
  uint64_t runs = 0;
  uint64_t overloaded = 0;
  uint64_t loaded_ahead = 0;               // invocations that met a prepared instance
  std::map<std::string, uint64_t> starts;  // by kind
  std::map<std::string, uint64_t> deaths;  // by cause
  LatencyHistogram latency;
};

class Invoker : private Instance::Owner {
 public:
  struct Options {
    SchedulerLimits limits;
    uint32_t dead_kept = 256;
  };
  Invoker(EventLoop& loop, LogStore& logs, Images& images, History& history,
          const Options& options);
  ~Invoker() override;
  Invoker(const Invoker&) = delete;
  Invoker& operator=(const Invoker&) = delete;

  // Takes the work over and fills in its id, which is returned for Cancel. work->done runs exactly
  // once, maybe before this returns.
  uint64_t Submit(std::unique_ptr<Work> work);
  // A place among the instances of the host and of a client, for something else that lives in a
  // sandbox: given at once, or after a wait like an invocation's, or refused. Returns an id for
  // Cancel, which refuses it unless it was given.
  uint64_t TakePlace(uid_t client, std::function<void(Result<SlotId>)> done);
  void LeavePlace(SlotId slot);
  // The client has gone: nobody waits for the answer. An instance busy with it is killed, because
  // its handler cannot be interrupted.
  void Cancel(uint64_t work_id);

  // A function has these versions and this limit from now on, and instances of it are prepared as
  // it says; or there is none any more.
  void FunctionChanged(const DeployedFunction& function);
  void FunctionRemoved(const std::string& function);

  // Live and recently ended instances that `visible` admits by owner and function; the others are
  // not looked at, since describing one reads files. A prefix must be unique among them.
  using Visible = std::function<bool(uid_t owner, const std::string& function)>;
  Result<v1::Instance> Find(const std::string& id_prefix, const Visible& visible) const;
  std::vector<v1::Instance> List(bool include_dead, const Visible& visible) const;
  // Kills a live instance by its whole id.
  Result<> Kill(const std::string& id);
  // Kills every live instance of an image.
  void EvictAllOf(const ZygoteImage& image, const std::string& message);
  // Ends at most so many idle instances, for their memory; how many it did.
  size_t EvictForMemory(size_t most, const std::string& reason);
  uint32_t LiveOf(const std::string& function) const { return scheduler_.live_of(function); }

  const InvokerStats& stats() const { return stats_; }
  const InvocationLedger& ledger() const { return ledger_; }
  const Scheduler& scheduler() const { return scheduler_; }

  // Refuses what waits, kills all instances; `done` runs when they are gone, or after a limit.
  void ShutDown(std::function<void()> done);

 private:
  struct Held {
    std::unique_ptr<Instance> instance;
    ZygoteImage* image = nullptr;
    bool waiting = false;           // for a sandbox
    uint64_t take_request = 0;      // likewise
    std::unique_ptr<Work> pending;  // until it has one
    bool preparing = false;         // for nobody yet; until it is idle
    uint64_t pending_since_ns = 0;
  };

  void InstanceIdle(Instance& instance) override;
  bool MayEndIdle(const Instance& instance) override;
  void InstanceDying(Instance& instance) override;
  void InstanceGone(Instance& instance) override;
  void WorkUnread(std::unique_ptr<Work> work) override;

  void Enqueue(std::unique_ptr<Work> work, bool again);
  void Apply(const Actions& actions);
  void Refuse(std::unique_ptr<Work> work, const Error& error);
  void StartInstance(const Action& action, std::unique_ptr<Work> work);
  ZygoteImage::Wish WishOf(const ZygoteImage& image, Work& work) const;
  void PrepareInstance(const Action& action);
  void AwaitSandbox(SlotId slot, ZygoteImage& image, const ZygoteImage::Wish& wish);
  void ArmReplenish();
  void AddHeld(SlotId slot, const Work& work, ZygoteImage& image);
  void SandboxTaken(SlotId slot, Result<ZygoteImage::Lease> lease);
  void KillHeld(Held& held, v1::Death::Cause cause, const std::string& message);
  void RefuseQueuedOf(const std::string& function);
  void ArmExpiry();
  void CountResult(const Work& work, const WorkResult& result);
  void CountRefusal(const Work& work, const Error& refused);
  // invoker_history.cc
  void TellStarted(const Held& held, const ZygoteImage::Lease& lease, const Work* work);
  void TellEnded(const v1::Instance& instance);
  void CheckStopped();

  EventLoop& loop_;
  LogStore& logs_;
  Images& images_;
  History& history_;
  Options options_;
  Scheduler scheduler_;
  CodeCache code_cache_;
  ImportHints import_hints_;
  InvokerStats stats_;
  InvocationLedger ledger_;
  uint64_t next_work_ = 1;
  std::unordered_map<uint64_t, std::unique_ptr<Work>> queued_;
  std::unordered_map<SlotId, Held> held_;
  std::map<std::string, SlotId> by_id_;
  std::deque<v1::Instance> dead_;  // the youngest last
  // Of those functions of which instances are prepared: the versions as the scheduler knows them.
  std::unordered_map<std::string, std::map<uint64_t, std::shared_ptr<const FunctionVersion>>>
      reserved_;
  EventLoop::TimerId expiry_timer_ = 0;
  EventLoop::TimerId replenish_timer_ = 0;
  EventLoop::TimerId stop_timer_ = 0;
  bool stopping_ = false;
  std::function<void()> stopped_;
  std::shared_ptr<bool> alive_;
};

}  // namespace spore
