// What people do with events: try them again, forget them, say what shall become of them.
#include <algorithm>
#include <utility>

#include "daemon/common/log.h"
#include "daemon/common/unix_time.h"
#include "daemon/events/async_dispatcher.h"

namespace spore {
namespace {

constexpr uint32_t kRetries = 2;  // as AWS Lambda
constexpr uint64_t kMaxAgeMs = 6ull * 3'600'000;
constexpr uint64_t kBackoffMs = 60'000;
constexpr uint32_t kPurgedAtOnce = 1000;

Error RunsNow(const std::string& id) {
  return {ErrorKind::kPrecondition,
          0,
          "event " + id + " is being carried out",
          {},
          "wait until it has ended"};
}

}  // namespace

v1::AsyncPolicy AsyncDispatcher::PolicyOf(const std::string& function) const {
  const auto found = policies_.find(function);
  if (found != policies_.end()) return found->second;
  v1::AsyncPolicy policy;
  policy.set_function(function);
  policy.set_retries(kRetries);
  policy.set_max_age_ms(kMaxAgeMs);
  policy.set_backoff_ms(kBackoffMs);
  return policy;
}

void AsyncDispatcher::SetPolicy(const v1::AsyncPolicy& policy, std::function<void(Result<>)> done) {
  parts_.store.Submit(
      AsyncStore::Kind::kChange, [policy](AsyncDisk& disk) { return disk.PutPolicy(policy); },
      [this, policy, done = std::move(done)](Result<> stored) {
        if (stored) policies_[policy.function()] = policy;
        // It may have been removed meanwhile.
        if (stored && !parts_.functions.Find(policy.function())) FunctionRemoved(policy.function());
        done(std::move(stored));
      });
}

void AsyncDispatcher::FunctionRemoved(const std::string& function) {
  for (AsyncTicket& ticket : queue_.RemoveAllOf(function))
    GiveUp(std::move(ticket), AttemptFacts::Kind::kRemoved);
  if (policies_.erase(function) == 0) return;
  parts_.store.Submit(
      AsyncStore::Kind::kChange,
      [function](AsyncDisk& disk) { return disk.RemovePolicy(function); },
      [](const Result<>& removed) {
        if (!removed) Log(LogLevel::kError, "remove a policy: " + removed.error().Message());
      });
}

void AsyncDispatcher::Retry(const std::string& prefix, std::optional<uid_t> owner, EventDone done) {
  auto found = std::make_shared<StoredEvent>();
  const auto revive = [this, found, done](const Result<>& read) {
    if (!read) return done(tl::unexpected(read.error()));
    v1::AsyncEvent& event = found->event;
    const std::string& id = event.id();
    if (IsRunning(found->seq)) return done(tl::unexpected(RunsNow(id)));
    const int64_t now = NowUnixMs();
    event.set_due_unix_ms(now);
    if (event.state() == v1::AsyncEvent::WAITING) {
      queue_.Expedite(found->seq, static_cast<int64_t>(MonotonicNs() / 1'000'000));
      done(event);
      return Pump();
    }
    if (event.state() != v1::AsyncEvent::DEAD)
      return done(MakeError(ErrorKind::kPrecondition,
                            "event " + id + " has ended and keeps no payload",
                            "only dead letters, and events that wait, can be tried again"));
    const VersionPtr version = parts_.functions.Find(event.function());
    if (!version || version->function.owner_uid() != event.owner_uid()) {
      return done(MakeError(ErrorKind::kPrecondition,
                            "event " + id + ": its function " + event.function() + " was removed",
                            "deploy it again, or purge the event"));
    }
    const v1::AsyncPolicy policy = PolicyOf(event.function());
    event.set_state(v1::AsyncEvent::WAITING);
    event.set_accepted_unix_ms(now);
    event.set_expires_unix_ms(now + static_cast<int64_t>(policy.max_age_ms()));
    event.set_attempts(0);
    event.set_max_attempts(policy.retries() + 1);
    event.clear_condition();
    event.clear_note();
    found->backoff_ms = static_cast<int64_t>(policy.backoff_ms());
    auto revived = std::make_shared<bool>(false);
    parts_.store.Submit(
        AsyncStore::Kind::kAccept,
        [found, revived](AsyncDisk& disk) -> Result<> {
          SPORE_ASSIGN(*revived, disk.Revive(*found));
          return {};
        },
        [this, found, revived, done](const Result<>& stored) {
          if (!stored) return done(tl::unexpected(stored.error()));
          if (!*revived)  // by somebody else, or it was purged
            return done(MakeError(ErrorKind::kPrecondition,
                                  "event " + found->event.id() + " is no dead letter any more"));
          --dead_;
          Enqueue(*found);
          done(found->event);
          Pump();
        });
  };
  parts_.store.Submit(
      AsyncStore::Kind::kRead,
      [found, prefix, owner](AsyncDisk& disk) -> Result<> {
        SPORE_ASSIGN(*found, disk.Find(prefix, owner));
        return {};
      },
      revive);
}

void AsyncDispatcher::PurgeOne(const std::string& prefix, std::optional<uid_t> owner,
                               std::function<void(Result<uint64_t>)> done) {
  auto found = std::make_shared<StoredEvent>();
  const auto forget = [this, found, done](const Result<>& read) {
    if (!read) return done(tl::unexpected(read.error()));
    if (IsRunning(found->seq)) return done(tl::unexpected(RunsNow(found->event.id())));
    auto forgotten = std::make_shared<std::vector<ForgottenEvent>>();
    parts_.store.Submit(
        AsyncStore::Kind::kChange,
        [seq = found->seq, forgotten](AsyncDisk& disk) -> Result<> {
          SPORE_ASSIGN(*forgotten, disk.ForgetOne(seq));
          return {};
        },
        [this, forgotten, done](const Result<>& stored) {
          if (!stored) return done(tl::unexpected(stored.error()));
          ReturnQuota(*forgotten);
          done(forgotten->size());
        });
  };
  parts_.store.Submit(
      AsyncStore::Kind::kRead,
      [found, prefix, owner](AsyncDisk& disk) -> Result<> {
        SPORE_ASSIGN(*found, disk.Find(prefix, owner));
        return {};
      },
      forget);
}

void AsyncDispatcher::PurgeAll(EventFilter filter, std::function<void(Result<uint64_t>)> done) {
  filter.limit = kPurgedAtOnce;
  PurgeSome(std::move(filter), 0, std::move(done));
}

void AsyncDispatcher::PurgeSome(EventFilter filter, uint64_t so_far,
                                std::function<void(Result<uint64_t>)> done) {
  auto forgotten = std::make_shared<std::vector<ForgottenEvent>>();
  std::unordered_set<int64_t> but;
  for (const auto& [seq, flight] : flights_) but.insert(seq);
  parts_.store.Submit(
      AsyncStore::Kind::kChange,
      [forgotten, filter, but = std::move(but)](AsyncDisk& disk) -> Result<> {
        SPORE_ASSIGN(*forgotten, disk.Forget(filter, but));
        return {};
      },
      [this, forgotten, filter, so_far, done = std::move(done)](const Result<>& stored) mutable {
        if (!stored) return done(tl::unexpected(stored.error()));
        ReturnQuota(*forgotten);
        if (forgotten->empty()) return done(so_far);
        // Not those that are accepted meanwhile.
        filter.before = std::min(filter.before, forgotten->front().seq + 1);
        PurgeSome(std::move(filter), so_far + forgotten->size(), std::move(done));
      });
}

void AsyncDispatcher::ReturnQuota(const std::vector<ForgottenEvent>& forgotten) {
  for (const ForgottenEvent& event : forgotten) {
    queue_.Remove(event.seq);
    (void)TakeCached(event.seq);
    if (event.state == v1::AsyncEvent::DEAD) --dead_;
    if (event.state == v1::AsyncEvent::DEAD || event.state == v1::AsyncEvent::WAITING)
      quota_.Return(event.owner, event.bytes);
  }
}

v1::AsyncStatsResponse AsyncDispatcher::Describe() const {
  v1::AsyncStatsResponse response;
  response.set_accepted(stats_.accepted);
  response.set_done(stats_.done);
  response.set_failed(stats_.failed);
  response.set_retried(stats_.retried);
  response.set_dead_lettered(stats_.dead_lettered);
  response.set_postponed(stats_.postponed);
  response.set_refused(stats_.refused);
  response.set_fired(stats_.fired);
  response.set_misfired(stats_.misfired);
  response.set_waiting(queue_.waiting());
  response.set_running(flights_.size());
  response.set_dead(dead_);
  response.set_bytes(quota_.bytes());
  return response;
}

}  // namespace spore
