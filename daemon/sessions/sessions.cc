#include "daemon/sessions/sessions.h"

#include <utility>

#include "daemon/common/random_id.h"
#include "daemon/common/runtimes.h"
#include "daemon/common/unix_time.h"

namespace spore {
namespace {

constexpr size_t kLogsKept = 32;  // of ended ones

}  // namespace

Sessions::Sessions(EventLoop& loop, Images& images, Invoker& invoker, History& history,
                   EgressProxies& proxies, uint32_t dead_kept)
    : loop_(loop),
      images_(images),
      invoker_(invoker),
      history_(history),
      proxies_(proxies),
      dead_kept_(dead_kept),
      alive_(std::make_shared<bool>(true)) {}

Sessions::~Sessions() {
  *alive_ = false;
}

std::string Sessions::Create(const std::string& image, SessionSettings settings, Created created) {
  const std::string id = NewInstanceId();
  settings.id = id;
  Held& held = held_[id];
  held.image = image;
  held.created = std::move(created);
  const uid_t owner = settings.owner;
  held.settings = std::move(settings);
  const uint64_t request =
      invoker_.TakePlace(owner, [this, id, alive = alive_](Result<SlotId> slot) {
        if (*alive) Placed(id, std::move(slot));
      });
  const auto found = held_.find(id);
  if (found != held_.end() && !found->second.placed) found->second.place_request = request;
  return id;
}

std::string Sessions::CreateBranch(const Session& source, SessionSettings settings,
                                   Created created) {
  settings.branch_of = source.id();
  return Create(source.image().manifest().name, std::move(settings), std::move(created));
}

Session* Sessions::Live(const std::string& id) const {
  const auto found = held_.find(id);
  if (found == held_.end() || !found->second.session || found->second.session->dying())
    return nullptr;
  return found->second.session.get();
}

// Of a branch, the very one of its source: by that name there may be a later version.
Result<ZygoteImage*> Sessions::ImageFor(const Held& held) {
  if (held.settings.branch_of.empty()) return images_.FindNamed(held.image);
  if (Live(held.settings.branch_of) != nullptr)
    return held_.at(held.settings.branch_of).zygote_image;
  return MakeError(ErrorKind::kPrecondition, "the session that was to be branched has ended");
}

void Sessions::Placed(const std::string& id, Result<SlotId> slot) {
  const auto found = held_.find(id);
  if (found == held_.end()) {
    if (slot) invoker_.LeavePlace(*slot);
    return;
  }
  Held& held = found->second;
  held.placed = true;
  // Looked for now: an imported one may have gone while this waited.
  auto image = slot ? ImageFor(held) : tl::unexpected(slot.error());
  if (!image) {
    const Created created = std::move(held.created);
    held_.erase(found);
    if (slot) invoker_.LeavePlace(*slot);
    created(tl::unexpected(image.error()));
    return CheckStopped();
  }
  held.slot = *slot;
  held.zygote_image = *image;
  Session::Owner& owner = *this;  // make_unique is no friend
  held.session =
      std::make_unique<Session>(loop_, owner, **image, proxies_, std::move(held.settings));
  // May call back at once.
  const uint64_t request = Take(id, held);
  const auto after = held_.find(id);
  if (after != held_.end() && !after->second.taken) after->second.take_request = request;
}

uint64_t Sessions::Take(const std::string& id, Held& held) {
  const SessionSettings& settings = held.session->settings();
  if (!settings.branch_of.empty() && !settings.arrives) return TakeForBranch(id, held);
  const ZygoteImage::Wish wish{.egress = settings.egress.has_value()};
  return held.zygote_image->Take(
      wish, [this, id, alive = alive_](Result<ZygoteImage::Lease> lease) {
        if (*alive) {
          Taken(id, std::move(lease));
        } else if (lease) {
          lease->pool->Dispose(std::move(lease->sandbox), [](const auto&) {});
        }
      });
}

// The source holds a sandbox of the pool, which is there as long.
uint64_t Sessions::TakeForBranch(const std::string& id, Held& held) {
  const Session* source = Live(held.session->settings().branch_of);
  if (source == nullptr) {
    Taken(id, MakeError(ErrorKind::kPrecondition, "the session that was to be branched has ended"));
    return 0;
  }
  SandboxPool* const pool = held.branch_pool = source->pool();
  ZygoteGeneration* const generation = source->generation();
  return pool->Take(
      [this, id, pool, generation, alive = alive_](Result<std::unique_ptr<Sandbox>> sandbox) {
        if (!sandbox) {
          if (!*alive) return;
          Error error = std::move(sandbox).error();
          if (error.kind == ErrorKind::kUnavailable) {
            error = {ErrorKind::kPrecondition,
                     0,
                     "the zygote that the session comes from was replaced",
                     {},
                     "create a session anew: spore sandbox create"};
          }
          return Taken(id, tl::unexpected(std::move(error)));
        }
        if (!*alive) return pool->Dispose(std::move(*sandbox), [](const auto&) {});
        ZygoteImage::Lease lease;
        lease.generation = generation;
        lease.pool = pool;
        lease.sandbox = std::move(*sandbox);
        Taken(id, std::move(lease));
      });
}

void Sessions::Taken(const std::string& id, Result<ZygoteImage::Lease> lease) {
  const auto found = held_.find(id);
  if (found == held_.end() || found->second.session->dying()) {
    if (lease) lease->pool->Dispose(std::move(lease->sandbox), [](const auto&) {});
    return;
  }
  found->second.taken = true;
  Session& session = *found->second.session;
  const auto started = [this, id, alive = alive_](const Result<>& result) {
    if (*alive) Ready(id, result);
  };
  session.Start(std::move(lease), started);
}

void Sessions::Ready(const std::string& id, const Result<>& started) {
  const auto found = held_.find(id);
  if (found == held_.end()) return;
  const Created created = std::exchange(found->second.created, nullptr);
  if (!created) return;
  if (!started) return created(tl::unexpected(started.error()));
  v1::Session session;  // to describe it would be to read files
  session.set_id(id);
  session.set_owner_uid(found->second.session->owner());
  session.set_image(found->second.image);
  Tell(v1::HostEvent::SESSION_STARTED, session);
  created(found->second.session.get());
}

void Sessions::Tell(v1::HostEvent::Kind kind, const v1::Session& session) {
  Happening happening;
  happening.kind = kind;
  happening.owner = session.owner_uid();
  happening.cause = CauseOf(session.death().cause());
  happening.start_kind = session.start_kind();
  happening.instance_id = session.id();
  happening.image = session.image();
  happening.message = session.death().message();
  const int64_t lived_ms = NowUnixMs() - session.created_unix_ms();
  if (kind == v1::HostEvent::SESSION_ENDED && lived_ms > 0)
    happening.duration_us = static_cast<uint64_t>(lived_ms) * 1000;
  happening.memory_peak_bytes = session.death().usage().memory_peak_bytes();
  happening.cpu_us = session.death().usage().cpu_us();
  history_.Add(happening);
}

void Sessions::CancelCreate(const std::string& id, const std::string& why) {
  const auto found = held_.find(id);
  if (found == held_.end()) return;
  Held& held = found->second;
  if (held.session) return held.session->Kill(v1::Death::KILLED, why);
  invoker_.Cancel(held.place_request);
}

void Sessions::SessionGone(Session& session) {
  auto held = held_.extract(session.id());
  Held& gone = held.mapped();
  if (!gone.taken && gone.take_request != 0) {
    if (gone.branch_pool != nullptr) {
      gone.branch_pool->Cancel(gone.take_request);
    } else {
      gone.zygote_image->CancelTake(gone.take_request);
    }
  }
  if (gone.created) {
    gone.created(MakeError(ErrorKind::kUnavailable, "the session was ended before it had started"));
  }
  const v1::Session description = session.Describe();
  Tell(v1::HostEvent::SESSION_ENDED, description);
  if (dead_kept_ > 0) dead_.push_back({description, session.log()});
  while (dead_.size() > dead_kept_) dead_.pop_front();
  if (dead_.size() > kLogsKept) dead_[dead_.size() - kLogsKept - 1].log.reset();
  // It is the caller: it goes when it has returned.
  loop_.Post([session = std::shared_ptr<Session>(std::move(gone.session))] {});
  invoker_.LeavePlace(gone.slot);
  CheckStopped();
}

Result<Sessions::Found> Sessions::Find(const std::string& prefix, const Visible& visible) {
  if (prefix.empty()) return MakeError(ErrorKind::kInvalid, "id: empty; expected a session's id");
  Found result;
  std::string first;
  const auto ambiguous = [&](const std::string& second) {
    return MakeError(ErrorKind::kInvalid,
                     "id: \"" + prefix + "\" is not unique: " + first + ", " + second + ", ..");
  };
  for (auto it = held_.lower_bound(prefix); it != held_.end() && it->first.starts_with(prefix);
       ++it) {
    if (!it->second.session || !visible(it->second.session->owner())) continue;
    if (!first.empty()) return ambiguous(it->first);
    first = it->first;
    result = {it->second.session.get(), nullptr, it->second.session->log()};
  }
  for (const Dead& dead : dead_) {
    if (!dead.info.id().starts_with(prefix) || !visible(dead.info.owner_uid())) continue;
    if (!first.empty()) return ambiguous(dead.info.id());
    first = dead.info.id();
    result = {nullptr, &dead.info, dead.log};
  }
  if (first.empty())
    return MakeError(ErrorKind::kNotFound, "no session \"" + prefix.substr(0, 64) + "\"");
  return result;
}

std::vector<v1::Session> Sessions::List(bool include_dead, const Visible& visible) const {
  std::vector<v1::Session> list;
  for (const auto& [id, held] : held_)
    if (held.session && visible(held.session->owner())) list.push_back(held.session->Describe());
  for (const Dead& dead : dead_)
    if (include_dead && visible(dead.info.owner_uid())) list.push_back(dead.info);
  return list;
}

std::vector<std::string> Sessions::Of(const ZygoteImage& image) const {
  std::vector<std::string> ids;
  for (const auto& [id, held] : held_)
    if (held.zygote_image == &image) ids.push_back(id);
  return ids;
}

void Sessions::EvictAllOf(const ZygoteImage& image, const std::string& message) {
  for (const std::string& id : Of(image)) {
    const auto held = held_.find(id);
    if (held != held_.end()) held->second.session->Kill(v1::Death::EVICTION, message);
  }
}

void Sessions::ShutDown(std::function<void()> done) {
  stopping_ = true;
  stopped_ = std::move(done);
  std::vector<std::string> ids;
  for (const auto& [id, held] : held_) ids.push_back(id);
  for (const std::string& id : ids) {
    const auto held = held_.find(id);
    if (held == held_.end()) continue;
    if (held->second.session) {
      held->second.session->Kill(v1::Death::DAEMON, "spored is stopping");
    } else {
      invoker_.Cancel(held->second.place_request);
    }
  }
  CheckStopped();
}

void Sessions::CheckStopped() {
  if (!stopping_ || !held_.empty() || !stopped_) return;
  // After the sessions themselves, whose destruction has been posted.
  loop_.Post([stopped = std::exchange(stopped_, nullptr)] { stopped(); });
}

}  // namespace spore
