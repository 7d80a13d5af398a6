// Accepting events and carrying them out.
#include "daemon/events/async_dispatcher.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "daemon/common/log.h"
#include "daemon/common/random_id.h"
#include "daemon/common/unix_time.h"
#include "daemon/events/async_ending.h"
#include "daemon/functions/function_facts.h"
#include "daemon/rpc/payload.h"
#include "sandbox/sys/fault_point.h"

namespace spore {
namespace {

constexpr uint64_t kMostCached = 16u << 20;
constexpr int64_t kMostDelayMs = 3'600'000;
constexpr int64_t kMostAgeMs = 14ll * 86'400'000;
// How soon room is looked for again, where there was none.
constexpr int64_t kLookAgainMs = 50;
constexpr int64_t kLongestTimerMs = 60'000;
constexpr auto kSweepEvery = std::chrono::minutes(1);

int64_t NowMs() {
  return static_cast<int64_t>(MonotonicNs() / 1'000'000);
}

}  // namespace

AsyncDispatcher::AsyncDispatcher(const Parts& parts, const AsyncConfig& config)
    : parts_(parts),
      config_(config),
      queue_({config.max_in_flight, config.client_in_flight}),
      quota_({config.max_events, config.max_bytes, config.client_events, config.client_bytes}) {}

AsyncDispatcher::~AsyncDispatcher() {
  for (const EventLoop::TimerId timer : {timer_, sweep_timer_}) {
    if (timer != 0) parts_.loop.CancelTimer(timer);
  }
}

Result<> AsyncDispatcher::Load() {
  SPORE_ASSIGN(std::vector<v1::AsyncPolicy> policies, parts_.store.disk().LoadPolicies());
  for (v1::AsyncPolicy& policy : policies) {
    std::string function = policy.function();
    policies_[std::move(function)] = std::move(policy);
  }
  SPORE_ASSIGN(const std::vector<StoredEvent> live, parts_.store.disk().LoadLive());
  for (const StoredEvent& event : live) {
    quota_.TakeAnyway(event.event.owner_uid(), event.held_bytes());
    if (event.event.state() == v1::AsyncEvent::DEAD) {
      ++dead_;
    } else {
      Enqueue(event);
    }
  }
  if (queue_.waiting() > 0) {
    Log(LogLevel::kInfo, std::to_string(queue_.waiting()) +
                             " events wait, accepted by an earlier "
                             "spored");
  }
  return {};
}

void AsyncDispatcher::Start() {
  started_ = true;
  // Of functions that were removed while that could not be recorded.
  for (auto it = policies_.begin(); it != policies_.end();) {
    const std::string function = it->first;
    ++it;
    if (!parts_.functions.Find(function)) FunctionRemoved(function);
  }
  Sweep();
  Pump();
}

void AsyncDispatcher::Stop() {
  stopping_ = true;
}

StoredEvent AsyncDispatcher::MakeEvent(const v1::Function& function, const v1::AsyncPolicy& policy,
                                       std::string payload, int64_t now_unix_ms) {
  StoredEvent made;
  made.backoff_ms = static_cast<int64_t>(policy.backoff_ms());
  v1::AsyncEvent& event = made.event;
  event.set_id(NewRequestId());
  event.set_function(function.name());
  event.set_owner_uid(function.owner_uid());
  event.set_state(v1::AsyncEvent::WAITING);
  event.set_accepted_unix_ms(now_unix_ms);
  event.set_due_unix_ms(now_unix_ms);
  event.set_expires_unix_ms(now_unix_ms + static_cast<int64_t>(policy.max_age_ms()));
  event.set_max_attempts(policy.retries() + 1);
  event.set_payload_bytes(payload.size());
  event.set_payload(std::move(payload));
  return made;
}

void AsyncDispatcher::Accept(Asked asked, std::function<void(Result<std::string>)> accepted) {
  const v1::Function& function = asked.version->function;
  auto event = std::make_shared<StoredEvent>(
      MakeEvent(function, PolicyOf(function.name()), std::move(asked.payload), NowUnixMs()));
  event->client_context = std::move(asked.client_context);
  event->event.set_qualifier(std::move(asked.qualifier));
  event->event.set_origin(std::move(asked.origin));
  const uint64_t bytes = event->held_bytes();
  if (auto room = quota_.Take(function.owner_uid(), bytes); !room) {
    ++stats_.refused;
    return accepted(tl::unexpected(room.error()));
  }
  parts_.store.Submit(
      AsyncStore::Kind::kAccept,
      [event, also = std::move(asked.also)](AsyncDisk& disk) -> Result<> {
        SPORE_TRY(disk.Insert(event.get()));
        return also ? also(disk, *event) : Result<>();
      },
      [this, event, bytes, accepted = std::move(accepted)](const Result<>& stored) {
        if (!stored) {
          ++stats_.refused;
          quota_.Return(event->event.owner_uid(), bytes);
          Error error = stored.error();
          return accepted(tl::unexpected(std::move(error).Wrap("the event was not accepted")));
        }
        ++stats_.accepted;
        Enqueue(*event);
        Cache(event);
        accepted(event->event.id());
        Pump();
      });
}

// What is on disk has the time of day, which may be set; what waits here is counted from now.
void AsyncDispatcher::Enqueue(const StoredEvent& stored) {
  const v1::AsyncEvent& event = stored.event;
  const int64_t now = NowMs(), day = NowUnixMs();
  AsyncTicket ticket;
  ticket.seq = stored.seq;
  ticket.owner = event.owner_uid();
  ticket.function = event.function();
  ticket.qualifier = event.qualifier();
  if (!ticket.qualifier.empty()) ticket.draw = RandomFraction();
  ticket.due_ms = now + std::clamp<int64_t>(event.due_unix_ms() - day, 0, kMostDelayMs);
  ticket.expires_ms = now + std::clamp<int64_t>(event.expires_unix_ms() - day, 0, kMostAgeMs);
  ticket.depth = event.depth();
  ticket.bytes = stored.held_bytes();
  queue_.Add(std::move(ticket));
}

void AsyncDispatcher::Cache(std::shared_ptr<StoredEvent> event) {
  if (cached_bytes_ + event->held_bytes() > kMostCached) return;
  cached_bytes_ += event->held_bytes();
  const int64_t seq = event->seq;
  cache_.emplace(seq, std::move(event));
}

std::shared_ptr<StoredEvent> AsyncDispatcher::TakeCached(int64_t seq) {
  auto found = cache_.extract(seq);
  if (found.empty()) return nullptr;
  cached_bytes_ -= found.mapped()->held_bytes();
  return std::move(found.mapped());
}

// What the event is for now, if the function is still the owner's: another may have come to have
// its name. kNotFound: it will never be there again by itself.
Result<AsyncDispatcher::VersionPtr> AsyncDispatcher::VersionFor(const AsyncTicket& ticket) const {
  const DeployedFunction* function = parts_.functions.FindDeployed(ticket.function);
  if (function == nullptr || function->latest->function.owner_uid() != ticket.owner)
    return MakeError(ErrorKind::kNotFound, "no function \"" + ticket.function + "\"");
  return VersionOf(*function, ticket.qualifier, ticket.draw);
}

bool AsyncDispatcher::MayRun(const AsyncTicket& ticket) const {
  const Result<VersionPtr> version = VersionFor(ticket);
  if (!version) return true;  // to be given up, or looked at again later
  const v1::Function& function = (*version)->function;
  Ticket wanted;
  wanted.function = function.name();
  wanted.version = ScheduledAs(function);
  wanted.reuse = function.settings().isolation() == v1::ISOLATION_INSTANCE;
  wanted.max_instances = MaxInstances(*parts_.functions.FindDeployed(function.name()));
  wanted.client = function.owner_uid();
  return parts_.invoker.scheduler().HasRoom(wanted);
}

void AsyncDispatcher::Pump() {
  // What is called below may call back at once.
  if (!started_ || stopping_ || pumping_) return;
  pumping_ = true;
  for (AsyncTicket& ticket : queue_.TakeExpired(NowMs()))
    GiveUp(std::move(ticket), AttemptFacts::Kind::kPostponed);
  const auto may_run = [this](const AsyncTicket& ticket) { return MayRun(ticket); };
  while (auto ticket = queue_.Next(NowMs(), may_run)) Dispatch(std::move(*ticket));
  pumping_ = false;
  ArmTimer();
}

void AsyncDispatcher::ArmTimer() {
  if (timer_ != 0) parts_.loop.CancelTimer(std::exchange(timer_, 0));
  const auto next = queue_.NextTime();
  if (!next || stopping_) return;
  int64_t delay = std::clamp<int64_t>(*next - NowMs(), 1, kLongestTimerMs);
  if (queue_.HasDue()) delay = std::min(delay, kLookAgainMs);
  timer_ = parts_.loop.AddTimer(std::chrono::milliseconds(delay), [this] {
    timer_ = 0;
    Pump();
  });
}

void AsyncDispatcher::Dispatch(AsyncTicket ticket) {
  const int64_t seq = ticket.seq;
  Flight& flight = flights_[seq];
  flight.ticket = std::move(ticket);
  flight.event = TakeCached(seq);
  if (flight.event) return Run(seq);
  auto read = std::make_shared<std::optional<StoredEvent>>();
  parts_.store.Submit(
      AsyncStore::Kind::kRead,
      [seq, read](AsyncDisk& disk) -> Result<> {
        SPORE_ASSIGN(*read, disk.Load(seq));
        return {};
      },
      [this, seq, read](Result<> result) { Loaded(seq, std::move(result), std::move(*read)); });
}

void AsyncDispatcher::Loaded(int64_t seq, Result<> read, std::optional<StoredEvent> event) {
  if (!read) {
    Log(LogLevel::kError, "an event cannot be read: " + read.error().Message());
    return Conclude(seq, AttemptFacts::Kind::kPostponed, {});
  }
  if (!event) return Land(seq);  // it was purged
  flights_.at(seq).event = std::make_shared<StoredEvent>(std::move(*event));
  if (stopping_) return Land(seq);
  // There was room when the reading began.
  if (!MayRun(flights_.at(seq).ticket)) return Conclude(seq, AttemptFacts::Kind::kPostponed, {});
  Run(seq);
}

void AsyncDispatcher::Run(int64_t seq) {
  Flight& flight = flights_.at(seq);
  WorkResult refused;
  const Result<VersionPtr> found = VersionFor(flight.ticket);
  if (!found) {
    if (found.error().kind != ErrorKind::kNotFound)
      return Conclude(seq, AttemptFacts::Kind::kPostponed, {});
    refused.refused = found.error();
    return Conclude(seq, AttemptFacts::Kind::kRemoved, refused);
  }
  const VersionPtr& version = *found;
  const v1::FunctionSettings& settings = version->function.settings();
  StoredEvent& stored = *flight.event;
  if (stored.event.payload().size() > settings.limits().payload_bytes()) {
    refused.refused =
        PayloadTooLarge(stored.event.payload().size(), settings.limits().payload_bytes());
    return Conclude(seq, AttemptFacts::Kind::kRefused, refused);
  }
  auto charge = parts_.payloads.Take(flight.ticket.owner, stored.held_bytes());
  if (!charge || !FaultPoint("async-dispatch"))
    return Conclude(seq, AttemptFacts::Kind::kPostponed, {});
  auto work = std::make_unique<Work>(MonotonicNs());
  work->charge = std::move(*charge);
  work->version = version;
  work->qualifier = flight.ticket.qualifier;
  flight.executed_version = VersionLabel(version->function);
  work->image = settings.image();
  work->limits = settings.limits();
  work->limits.set_max_instances(
      MaxInstances(*parts_.functions.FindDeployed(flight.ticket.function)));
  work->isolation = settings.isolation();
  work->owner = version->function.owner_uid();
  work->request_id = stored.event.id();
  work->payload = std::move(*stored.event.mutable_payload());  // it is on disk, too
  work->client_context = std::move(stored.client_context);
  work->done = [this, seq](const Work&, const WorkResult& result) { Answered(seq, result); };
  parts_.invoker.Submit(std::move(work));
}

void AsyncDispatcher::GiveUp(AsyncTicket ticket, AttemptFacts::Kind kind) {
  const int64_t seq = ticket.seq;
  Flight& flight = flights_[seq];
  flight.ticket = std::move(ticket);
  flight.event = TakeCached(seq);
  flight.counted = false;
  Conclude(seq, kind, {});
}

void AsyncDispatcher::Land(int64_t seq) {
  const auto flight = flights_.extract(seq);
  if (flight.mapped().counted) queue_.Landed(flight.mapped().ticket.owner);
  Pump();
}

void AsyncDispatcher::Sweep() {
  const int64_t now = NowUnixMs();
  auto swept = std::make_shared<std::vector<ForgottenEvent>>();
  parts_.store.Submit(
      AsyncStore::Kind::kChange,
      [swept, kept = now - static_cast<int64_t>(config_.keep_ms),
       dead = now - static_cast<int64_t>(config_.dead_keep_ms)](AsyncDisk& disk) -> Result<> {
        SPORE_ASSIGN(*swept, disk.Sweep(kept, dead));
        return {};
      },
      [this, swept](const Result<>& done) {
        if (done) ReturnQuota(*swept);
      });
  sweep_timer_ = parts_.loop.AddTimer(kSweepEvery, [this] { Sweep(); });
}

}  // namespace spore
