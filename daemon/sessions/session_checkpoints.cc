#include "daemon/sessions/session_checkpoints.h"

#include <algorithm>
#include <utility>

#include "daemon/sessions/session_egress.h"

namespace spore {
namespace {

constexpr uint64_t kLeastTtlMs = 1000;

}  // namespace

SessionCheckpoints::SessionCheckpoints(Images& images, Sessions& sessions,
                                       SessionCheckpointLane& lane, SessionDumps& dumps,
                                       SessionArrivals& arrivals, const SessionsConfig& config)
    : images_(images),
      sessions_(sessions),
      lane_(lane),
      config_(config),
      dumps_(dumps),
      arrivals_(arrivals),
      alive_(std::make_shared<bool>(true)) {}

SessionCheckpoints::~SessionCheckpoints() {
  *alive_ = false;
}

// ---- to the disk ----

void SessionCheckpoints::Create(SessionDumps::Order order, const std::string& name,
                                Created created) {
  Session* const session = sessions_.Live(order.session);
  Result<> fit = MakeError(ErrorKind::kPrecondition, "the session has ended");
  if (session != nullptr) fit = SessionDumps::Check(*session);
  if (!fit) return created(tl::unexpected(fit.error()));
  auto place = dumps_.TakePlace();
  if (!place) return created(tl::unexpected(place.error()));
  auto job = std::make_shared<Creating>();
  job->place = std::move(*place);
  job->use = session->Use();
  job->order = std::move(order);
  job->created = std::move(created);
  lane_.PrepareDump({.name = name,
                     .session = session->id(),
                     .owner = session->owner(),
                     .uid = session->host_uid(),
                     .max_bytes = SessionDumps::MostBytes(*session)},
                    session->image().manifest(), [this, job, alive = alive_](auto material) {
                      if (!*alive) return;
                      if (!material) return job->created(tl::unexpected(material.error()));
                      job->material = std::move(*material);
                      Dump(job);
                    });
}

void SessionCheckpoints::Dump(const CreatingPtr& job) {
  dumps_.Start(job->order, job->material, [this, job](const Result<SessionDumps::Dumped>& dumped) {
    if (!dumped) {
      lane_.Abandon(job->material);
      return job->created(tl::unexpected(dumped.error()));
    }
    job->response.set_stopped_us(dumped->stopped_us);
    *job->response.mutable_trace() = dumped->trace;
    job->door = dumped->door;
    lane_.Keep(job->material, [this, job, alive = alive_](const auto& kept) {
      if (*alive) Kept(job, kept);
    });
  });
}

void SessionCheckpoints::Kept(const CreatingPtr& job,
                              const Result<v1::SessionCheckpointRecord>& kept) {
  const auto tell = [job, kept] {
    job->use.reset();
    job->place.reset();
    if (!kept) return job->created(tl::unexpected(kept.error()));
    *job->response.mutable_checkpoint() = kept->checkpoint();
    job->response.mutable_trace()->set_total_us((MonotonicNs() - job->order.asked_ns) / 1000);
    job->created(job->response);
  };
  Session* const session = sessions_.Live(job->order.session);
  if (session == nullptr || job->order.leave_running) return tell();
  if (!kept) {
    return dumps_.GoOn(job->order.session, *job->door, [tell](const Result<>&) { tell(); });
  }
  session->OnGone(tell);
  session->Kill(v1::Death::KILLED, "it was put on disk as checkpoint " + kept->checkpoint().name());
}

// ---- from the disk ----

std::function<void()> SessionCheckpoints::Restore(RestoreOrder order, Restored restored) {
  auto job = std::make_shared<Restoring>();
  job->order = std::move(order);
  job->restored = std::move(restored);
  lane_.Find(job->order.peer, job->order.name, images_.Manifests(),
             [this, job, alive = alive_](const Result<v1::SessionCheckpointRecord>& record) {
               if (!*alive || !job->restored) return;
               if (!record) return job->restored(tl::unexpected(record.error()));
               if (auto begun = Found(job, *record); !begun)
                 job->restored(tl::unexpected(begun.error()));
             });
  return [this, job, alive = alive_] {
    job->restored = nullptr;
    if (*alive && job->arrival != 0) arrivals_.Cancel(job->arrival);
  };
}

Result<> SessionCheckpoints::Found(const RestoringPtr& job,
                                   const v1::SessionCheckpointRecord& record) {
  SPORE_ASSIGN(SessionArrivals::Order order, ArrivalOf(job->order, record));
  job->arrival = arrivals_.Start(std::move(order), [job](const Result<Session*>& session) {
    if (!job->restored) return;
    if (!session) return job->restored(tl::unexpected(session.error()));
    job->restored((*session)->Describe());
  });
  return {};
}

Result<SessionArrivals::Order> SessionCheckpoints::ArrivalOf(
    const RestoreOrder& order, const v1::SessionCheckpointRecord& record) {
  const v1::SessionCheckpoint& checkpoint = record.checkpoint();
  if (!checkpoint.unusable().empty()) {
    return MakeError(ErrorKind::kPrecondition,
                     "checkpoint " + checkpoint.name() + ": " + checkpoint.unusable());
  }
  SessionArrivals::Order arrival;
  SPORE_ASSIGN(const ZygoteImage* image, images_.FindNamed(checkpoint.image()));
  arrival.image = image->manifest().name;
  arrival.record = record;
  SessionSettings& settings = arrival.settings;
  settings.restored_from = checkpoint.name();
  settings.label = order.label.empty() ? checkpoint.label() : order.label;
  settings.language = checkpoint.language();
  settings.owner = checkpoint.owner_uid();
  settings.limits = checkpoint.limits();
  settings.ttl_ms = order.ttl_ms != 0 ? order.ttl_ms : std::max(kLeastTtlMs, checkpoint.ttl_ms());
  settings.idle_timeout_ms = checkpoint.idle_timeout_ms();
  for (const auto& [name, value] : checkpoint.environment()) settings.environment[name] = value;
  // What it may reach is decided anew.
  SPORE_ASSIGN(settings.egress, ParseNetwork(checkpoint.network(), config_));
  arrival.prepare = [this, record](const ImageManifest& manifest, uid_t uid, auto prepared) {
    lane_.PrepareRestore(record, manifest, uid, std::move(prepared));
  };
  return arrival;
}

}  // namespace spore
