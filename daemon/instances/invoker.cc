#include "daemon/instances/invoker.h"

#include <algorithm>

#include "daemon/common/log.h"
#include "daemon/common/random_id.h"
#include "daemon/functions/function_facts.h"
#include "daemon/zygotes/memory_keeper.h"

namespace spore {
namespace {

constexpr auto kStopLimit = std::chrono::seconds(5);
constexpr size_t kCodeCacheBytes = 16u << 20;
// What a set that a function names is thought to save, until there has been one.
constexpr uint64_t kNamedSavesUs = 50'000;
// Preparing an instance takes the CPU from whoever has just been served, so it waits a little.
constexpr auto kReplenishDelay = std::chrono::milliseconds(2);

}  // namespace

Invoker::Invoker(EventLoop& loop, LogStore& logs, Images& images, History& history,
                 const Options& options)
    : loop_(loop),
      logs_(logs),
      images_(images),
      history_(history),
      options_(options),
      scheduler_(options.limits),
      code_cache_(kCodeCacheBytes),
      alive_(std::make_shared<bool>(true)) {}

Invoker::~Invoker() {
  *alive_ = false;
  if (expiry_timer_ != 0) loop_.CancelTimer(expiry_timer_);
  if (replenish_timer_ != 0) loop_.CancelTimer(replenish_timer_);
  if (stop_timer_ != 0) loop_.CancelTimer(stop_timer_);
}

uint64_t Invoker::Submit(std::unique_ptr<Work> work) {
  const uint64_t id = next_work_++;
  work->id = id;
  // Counting goes round the caller's own callback; what can wait until the answer is on its way
  // does.
  work->done = [this, done = std::move(work->done)](const Work& finished, WorkResult result) {
    CountResult(finished, result);
    if (result.refused || !finished.version || finished.measure)
      return done(finished, std::move(result));
    const Finished facts(result, (MonotonicNs() - finished.trace.base_ns()) / 1000);
    done(finished, std::move(result));
    ledger_.Record(finished, facts);
  };
  if (stopping_) {
    Refuse(std::move(work), {ErrorKind::kUnavailable, 0, "spored is stopping", {}, {}});
    return id;
  }
  Enqueue(std::move(work), /*again=*/false);
  return id;
}

void Invoker::Enqueue(std::unique_ptr<Work> work, bool again) {
  Ticket ticket;
  ticket.id = work->id;
  ticket.now_ns = MonotonicNs();
  ticket.again = again;
  ticket.client = work->owner;
  ticket.max_instances = work->limits.max_instances();
  if (work->version) {
    ticket.function = work->version->function.name();
    ticket.version = ScheduledAs(work->version->function);
    ticket.reuse = work->isolation == v1::ISOLATION_INSTANCE;
    ticket.fresh = work->measure;
  }
  queued_[ticket.id] = std::move(work);
  Apply(scheduler_.Submit(std::move(ticket)));
  ArmExpiry();
}

void Invoker::WorkUnread(std::unique_ptr<Work> work) {
  if (stopping_) {
    return Refuse(std::move(work), {ErrorKind::kUnavailable, 0, "spored is stopping", {}, {}});
  }
  work->queued_ns = MonotonicNs();
  Enqueue(std::move(work), /*again=*/true);
}

void Invoker::Apply(const Actions& actions) {
  for (const Action& action : actions) {
    std::unique_ptr<Work> work;
    if (action.kind != Action::Kind::kEvict && action.kind != Action::Kind::kPrepare) {
      auto found = queued_.extract(action.ticket);
      if (found.empty()) continue;
      work = std::move(found.mapped());
      const uint64_t now = MonotonicNs();
      if (action.kind != Action::Kind::kRefuse)
        work->trace.Add(StepName::kQueue, work->queued_ns, now);
      work->start_reason = action.reason;
      if (work->runs_program) work->start_reason += "; a program is executed, not copied";
    }
    const auto held = held_.find(action.slot);
    switch (action.kind) {
      case Action::Kind::kReuse:
        held->second.instance->Invoke(std::move(work));
        break;
      case Action::Kind::kStart:
        StartInstance(action, std::move(work));
        break;
      case Action::Kind::kPrepare:
        PrepareInstance(action);
        break;
      case Action::Kind::kEvict:
        if (held != held_.end()) KillHeld(held->second, v1::Death::EVICTION, action.reason);
        break;
      case Action::Kind::kRefuse:
        Refuse(std::move(work), action.error);
        break;
    }
  }
  ArmReplenish();
}

void Invoker::ArmReplenish() {
  if (replenish_timer_ != 0 || stopping_) return;
  const auto due_ns = scheduler_.next_replenish_ns();
  if (!due_ns) return;
  const uint64_t now = MonotonicNs();
  const std::chrono::nanoseconds delay(*due_ns > now ? *due_ns - now : 0);
  replenish_timer_ =
      loop_.AddTimer(std::max<std::chrono::nanoseconds>(delay, kReplenishDelay), [this] {
        replenish_timer_ = 0;
        if (!stopping_) Apply(scheduler_.Replenish(MonotonicNs()));
      });
}

void Invoker::Refuse(std::unique_ptr<Work> work, const Error& error) {
  WorkResult result;
  result.refused = error;
  work->done(*work, std::move(result));
}

uint64_t Invoker::TakePlace(uid_t client, std::function<void(Result<SlotId>)> done) {
  auto work = std::make_unique<Work>(MonotonicNs());
  work->owner = client;
  work->placed = done;
  work->done = [done = std::move(done)](const Work&, const WorkResult& result) {
    done(tl::unexpected(*result.refused));
  };
  return Submit(std::move(work));
}

void Invoker::LeavePlace(SlotId slot) {
  scheduler_.SlotDying(slot);
  Apply(scheduler_.SlotGone(slot));
}

void Invoker::StartInstance(const Action& action, std::unique_ptr<Work> work) {
  const SlotId slot = action.slot;
  if (work->placed) return work->placed(slot);
  auto image = work->version ? images_.FindPinned(work->version->function)
                             : images_.Find(work->run.runtime(), work->image);
  if (!image) {
    Refuse(std::move(work), image.error());
    return Apply(scheduler_.SlotGone(slot));
  }
  const ZygoteImage::Wish wish = WishOf(**image, *work);
  AddHeld(slot, *work, **image);
  held_.at(slot).pending = std::move(work);
  AwaitSandbox(slot, **image, wish);
}

void Invoker::AddHeld(SlotId slot, const Work& work, ZygoteImage& image) {
  Held& held = held_[slot];
  held.instance = std::make_unique<Instance>(
      Instance::Environment{loop_, logs_, code_cache_, import_hints_, *this}, slot, NewInstanceId(),
      work);
  held.image = &image;
  held.pending_since_ns = MonotonicNs();
  held.waiting = true;
  by_id_[held.instance->id()] = slot;
}

void Invoker::AwaitSandbox(SlotId slot, ZygoteImage& image, const ZygoteImage::Wish& wish) {
  // May call back at once, and then hold no request any more.
  const uint64_t request =
      image.Take(wish, [this, slot, alive = alive_](Result<ZygoteImage::Lease> lease) {
        if (*alive) SandboxTaken(slot, std::move(lease));
      });
  const auto after = held_.find(slot);
  if (after != held_.end() && after->second.waiting) after->second.take_request = request;
}

void Invoker::PrepareInstance(const Action& action) {
  const auto version = reserved_.at(action.function).at(action.version);
  const v1::FunctionSettings& settings = version->function.settings();
  auto image = images_.FindPinned(version->function);
  if (!image) {
    scheduler_.PrepareFailed(action.slot, MonotonicNs());
    Log(LogLevel::kError,
        "function " + action.function + ": cannot be prepared: " + image.error().Message());
    return Apply(scheduler_.SlotGone(action.slot));
  }
  Work work(MonotonicNs());
  work.version = version;
  work.image = settings.image();
  work.limits = settings.limits();
  work.isolation = settings.isolation();
  work.owner = version->function.owner_uid();
  const ZygoteImage::Wish wish = WishOf(**image, work);
  AddHeld(action.slot, work, **image);
  held_.at(action.slot).preparing = true;
  AwaitSandbox(action.slot, **image, wish);
}

// The set that its function names, or that fits what the function was seen to import. While nothing
// is known of that, the runtime is asked.
ZygoteImage::Wish Invoker::WishOf(const ZygoteImage& image, Work& work) const {
  const ImageManifest& manifest = image.manifest();
  if (!work.version || work.measure || manifest.sets.empty()) return {};
  const std::string& named = work.version->function.settings().libraries();
  if (!named.empty()) return {manifest.FindSet(named) != nullptr ? named : "", kNamedSavesUs};
  if (const ImportHints::Hint* hint = import_hints_.Find(work.version))
    return {hint->set, hint->saves_us};
  work.watch = ModulesOfSets(manifest);
  return {};
}

void Invoker::SandboxTaken(SlotId slot, Result<ZygoteImage::Lease> lease) {
  const auto found = held_.find(slot);
  if (found == held_.end() || !found->second.waiting) {
    // Killed while it waited; CancelTake should have prevented this.
    if (lease) lease->pool->Dispose(std::move(lease->sandbox), [](const auto&) {});
    return;
  }
  Held& held = found->second;
  std::unique_ptr<Work> work = std::move(held.pending);
  held.take_request = 0;
  held.waiting = false;
  if (!lease) return held.instance->StartFailed(std::move(work), lease.error());
  if (!work) {
    TellStarted(held, *lease, nullptr);
    return held.instance->Prepare(*held.image, std::move(*lease));
  }
  const uint64_t now = MonotonicNs();
  work->trace.Add(StepName::kTakeSandbox, held.pending_since_ns, now);
  if (!lease->set.empty()) work->start_reason += ", from library set " + lease->set;
  if (const std::string why = lease->StartReason(); !why.empty()) work->start_reason += "; " + why;
  // Its making is part of this start only where the request had to wait for it.
  const Sandbox& sandbox = *lease->sandbox;
  const auto add_if_waited_for = [&](StepProcess process, const wire::Steps& steps) {
    if (steps.count > 0 && steps.step[0].start_ns >= held.pending_since_ns)
      work->trace.AddWire(process, steps);
  };
  add_if_waited_for(StepProcess::kSandbox, sandbox.made_steps);
  add_if_waited_for(StepProcess::kZygote, sandbox.forked_steps);
  TellStarted(held, *lease, work.get());
  held.instance->Start(*held.image, std::move(*lease), std::move(work));
}

void Invoker::KillHeld(Held& held, v1::Death::Cause cause, const std::string& message) {
  if (!held.waiting) return held.instance->Kill(cause, message);
  held.waiting = false;
  if (held.take_request != 0) held.image->CancelTake(held.take_request);
  held.take_request = 0;
  std::unique_ptr<Work> work = std::move(held.pending);
  held.instance->StartFailed(std::move(work), {ErrorKind::kUnavailable,
                                               0,
                                               "its instance was ended before it had "
                                               "started: " +
                                                   message,
                                               {},
                                               {}});
}

void Invoker::Cancel(uint64_t work_id) {
  const auto queued = queued_.find(work_id);
  if (queued != queued_.end()) {
    scheduler_.Cancel(work_id);
    std::unique_ptr<Work> work = std::move(queued->second);
    queued_.erase(queued);
    return Refuse(std::move(work), {ErrorKind::kUnavailable, 0, "the client went away", {}, {}});
  }
  for (auto& [slot, held] : held_) {
    const uint64_t current = held.pending ? held.pending->id : held.instance->current_work();
    if (current == work_id) {
      return KillHeld(held, v1::Death::KILLED, "the client went away");
    }
  }
}

void Invoker::ArmExpiry() {
  if (expiry_timer_ != 0) return;
  const auto expiry = scheduler_.next_expiry_ns();
  if (!expiry) return;
  const uint64_t now = MonotonicNs();
  const std::chrono::nanoseconds delay(*expiry > now ? static_cast<int64_t>(*expiry - now) : 0);
  expiry_timer_ = loop_.AddTimer(delay, [this] {
    expiry_timer_ = 0;
    Apply(scheduler_.Expire(MonotonicNs()));
    ArmExpiry();
  });
}

void Invoker::InstanceIdle(Instance& instance) {
  held_.at(instance.slot()).preparing = false;
  Apply(scheduler_.SlotIdle(instance.slot()));
}

bool Invoker::MayEndIdle(const Instance& instance) {
  return scheduler_.MayEnd(instance.slot());
}

void Invoker::InstanceDying(Instance& instance) {
  if (held_.at(instance.slot()).preparing) scheduler_.PrepareFailed(instance.slot(), MonotonicNs());
  scheduler_.SlotDying(instance.slot());
}

void Invoker::InstanceGone(Instance& instance) {
  v1::Instance description = instance.Describe();
  ++stats_.deaths[CauseName(description.death().cause())];
  TellEnded(description);
  if (options_.dead_kept > 0) dead_.push_back(std::move(description));
  while (dead_.size() > options_.dead_kept) dead_.pop_front();
  by_id_.erase(instance.id());
  const SlotId slot = instance.slot();
  auto held = held_.extract(slot);
  // The instance is the caller: it goes when it has returned.
  loop_.Post([gone = std::shared_ptr<Instance>(std::move(held.mapped().instance))] {});
  Apply(scheduler_.SlotGone(slot));
  CheckStopped();
}

void Invoker::FunctionChanged(const DeployedFunction& function) {
  const std::string& name = function.latest->function.name();
  std::map<uint64_t, std::shared_ptr<const FunctionVersion>> versions;
  versions[ScheduledAs(function.latest->function)] = function.latest;
  for (const auto& [number, version] : function.published)
    versions[ScheduledAs(version->function)] = version;
  std::vector<uint64_t> in_force;
  for (const auto& [scheduled_as, version] : versions) in_force.push_back(scheduled_as);
  const std::vector<Reserve> reserves = ReservesOf(function);
  if (reserves.empty()) {
    reserved_.erase(name);
  } else {
    reserved_[name] = std::move(versions);
  }
  scheduler_.SetReserves(name, reserves);
  Apply(scheduler_.Replace(name, std::move(in_force)));
  Apply(scheduler_.SetLimit(name, MaxInstances(function)));
}

void Invoker::FunctionRemoved(const std::string& function) {
  RefuseQueuedOf(function);
  ledger_.Forget(function);
  reserved_.erase(function);
  scheduler_.SetReserves(function, {});
  Apply(scheduler_.Replace(function, {}));
  std::vector<SlotId> slots;
  for (auto& [slot, held] : held_) {
    if (held.instance->function() != function) continue;
    held.instance->CloseLog();
    slots.push_back(slot);
  }
  for (const SlotId slot : slots) {
    const auto held = held_.find(slot);
    if (held != held_.end()) KillHeld(held->second, v1::Death::KILLED, "its function was removed");
  }
}

// An empty name: all.
void Invoker::RefuseQueuedOf(const std::string& function) {
  std::vector<uint64_t> ids;
  for (const auto& [id, work] : queued_) {
    if (function.empty() || (work->version && work->version->function.name() == function)) {
      ids.push_back(id);
    }
  }
  for (const uint64_t id : ids) {
    auto work = queued_.extract(id);
    if (work.empty()) continue;
    scheduler_.Cancel(id);
    Refuse(std::move(work.mapped()),
           function.empty()
               ? Error{ErrorKind::kUnavailable, 0, "spored is stopping", {}, {}}
               : Error{ErrorKind::kNotFound, 0, "function " + function + " was removed", {}, {}});
  }
}

std::vector<v1::Instance> Invoker::List(bool include_dead, const Visible& visible) const {
  std::vector<v1::Instance> list;
  for (const auto& [id, slot] : by_id_) {
    const Instance& instance = *held_.at(slot).instance;
    if (visible(instance.owner_uid(), instance.function())) list.push_back(instance.Describe());
  }
  for (const v1::Instance& instance : dead_) {
    if (include_dead && visible(instance.owner_uid(), instance.function()))
      list.push_back(instance);
  }
  return list;
}

Result<v1::Instance> Invoker::Find(const std::string& prefix, const Visible& visible) const {
  if (prefix.empty()) return MakeError(ErrorKind::kInvalid, "id: empty; expected an instance's id");
  std::vector<v1::Instance> matches;
  for (auto it = by_id_.lower_bound(prefix); it != by_id_.end() && it->first.starts_with(prefix);
       ++it) {
    const Instance& instance = *held_.at(it->second).instance;
    if (!visible(instance.owner_uid(), instance.function())) continue;
    matches.push_back(instance.Describe());
    if (matches.size() > 1) break;  // enough for the answer below
  }
  for (const v1::Instance& instance : dead_) {
    if (instance.id().starts_with(prefix) && visible(instance.owner_uid(), instance.function()))
      matches.push_back(instance);
  }
  if (matches.size() == 1) return std::move(matches.front());
  if (matches.empty()) return MakeError(ErrorKind::kNotFound, "no instance \"" + prefix + "\"");
  return MakeError(ErrorKind::kInvalid, "id: \"" + prefix + "\" is not unique: " + matches[0].id() +
                                            ", " + matches[1].id() + ", ..");
}

Result<> Invoker::Kill(const std::string& id) {
  const auto found = by_id_.find(id);
  if (found == by_id_.end()) {
    return MakeError(ErrorKind::kPrecondition, "instance " + id + " has ended already");
  }
  KillHeld(held_.at(found->second), v1::Death::KILLED, "killed on request");
  return {};
}

void Invoker::EvictAllOf(const ZygoteImage& image, const std::string& message) {
  std::vector<SlotId> slots;
  for (const auto& [slot, held] : held_) {
    if (held.image == &image) slots.push_back(slot);
  }
  for (const SlotId slot : slots) {
    const auto held = held_.find(slot);
    if (held != held_.end()) KillHeld(held->second, v1::Death::EVICTION, message);
  }
}

size_t Invoker::EvictForMemory(size_t most, const std::string& reason) {
  std::vector<MemoryHolder> holders;
  for (const SlotId slot : scheduler_.Evictable()) {
    MemoryHolder holder = held_.at(slot).instance->DescribeMemory();
    holder.id = slot;
    holders.push_back(holder);
  }
  const Actions actions = scheduler_.EvictOf(ByWorth(holders), most, reason);
  Apply(actions);
  return actions.size();
}

void Invoker::CountResult(const Work& work, const WorkResult& result) {
  if (result.refused) return CountRefusal(work, *result.refused);
  ++stats_.starts[StartKindName(result.start_kind)];
  if (result.loaded_ahead) ++stats_.loaded_ahead;
  if (!work.version) {
    ++stats_.runs;
    return;
  }
  ++stats_.invocations;
  if (result.error) ++stats_.invocation_errors;
  stats_.latency.Add((MonotonicNs() - work.trace.base_ns()) / 1000);
}

void Invoker::CountRefusal(const Work& work, const Error& refused) {
  const Cause cause = CauseOf(refused);
  ledger_.RecordRefusal(work, cause);
  if (refused.kind != ErrorKind::kOverloaded) return;
  ++stats_.overloaded;
  history_.AddRefusal(work.version ? work.version->function.name() : "", work.owner, cause,
                      refused.operation);
}

void Invoker::ShutDown(std::function<void()> done) {
  stopping_ = true;
  stopped_ = std::move(done);
  RefuseQueuedOf("");
  std::vector<SlotId> slots;
  for (const auto& [slot, held] : held_) slots.push_back(slot);
  for (const SlotId slot : slots) {
    const auto held = held_.find(slot);
    if (held != held_.end()) KillHeld(held->second, v1::Death::DAEMON, "spored is stopping");
  }
  stop_timer_ = loop_.AddTimer(kStopLimit, [this] {
    stop_timer_ = 0;
    auto stopped = std::move(stopped_);
    stopped_ = nullptr;
    if (stopped) stopped();
  });
  CheckStopped();
}

void Invoker::CheckStopped() {
  if (!stopping_ || !held_.empty() || !stopped_) return;
  if (stop_timer_ != 0) loop_.CancelTimer(stop_timer_);
  stop_timer_ = 0;
  // After the instances themselves, whose destruction has been posted.
  loop_.Post([stopped = std::move(stopped_)] { stopped(); });
  stopped_ = nullptr;
}

}  // namespace spore
