// The way back from the disk.
#include <algorithm>
#include <utility>

#include "daemon/agent_door.h"
#include "daemon/session_checkpoints.h"
#include "daemon/session_egress.h"

namespace spore {
namespace {

constexpr uint64_t kLeastTtlMs = 1000;

std::string Joined(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ",") + name;
  return text;
}

}  // namespace

uint64_t SessionCheckpoints::Restore(RestoreOrder order, Restored restored) {
  auto job = std::make_shared<Restoring>();
  job->id = ++last_id_;
  job->order = std::move(order);
  job->restored = std::move(restored);
  restoring_[job->id] = job;
  lane_.Find(job->order.peer, job->order.name, images_.Manifests(),
             [this, job, alive = alive_](Result<v1::SessionCheckpointRecord> record) {
               if (!*alive || job->over) return;
               if (!record) return FailRestore(job, std::move(record).error());
               job->record = std::move(*record);
               if (auto begun = Begin(job); !begun) FailRestore(job, begun.error());
             });
  return job->id;
}

Result<SessionSettings> SessionCheckpoints::SettingsOf(const Restoring& job) const {
  const v1::SessionCheckpoint& checkpoint = job.record.checkpoint();
  SessionSettings settings;
  settings.restored_from = checkpoint.name();
  settings.label = job.order.label.empty() ? checkpoint.label() : job.order.label;
  settings.language = checkpoint.language();
  settings.owner = checkpoint.owner_uid();
  settings.limits = checkpoint.limits();
  settings.ttl_ms =
      job.order.ttl_ms != 0 ? job.order.ttl_ms : std::max(kLeastTtlMs, checkpoint.ttl_ms());
  settings.idle_timeout_ms = checkpoint.idle_timeout_ms();
  for (const auto& [name, value] : checkpoint.environment()) settings.environment[name] = value;
  // What it may reach is decided anew.
  SPORE_ASSIGN(settings.egress, ParseNetwork(checkpoint.network(), config_));
  return settings;
}

Result<> SessionCheckpoints::Begin(const RestoringPtr& job) {
  const v1::SessionCheckpoint& checkpoint = job->record.checkpoint();
  if (!checkpoint.unusable().empty()) {
    return MakeError(ErrorKind::kPrecondition,
                     "checkpoint " + checkpoint.name() + ": " + checkpoint.unusable());
  }
  SPORE_ASSIGN(SessionSettings settings, SettingsOf(*job));
  SPORE_ASSIGN(const ZygoteImage* image, images_.FindNamed(checkpoint.image()));
  job->session = sessions_.Create(image->manifest().name, std::move(settings),
                                  [this, job, alive = alive_](const Result<Session*>& session) {
                                    if (!*alive || job->over) return;
                                    if (!session) return FailRestore(job, session.error());
                                    Unpack(job, **session);
                                  });
  return {};
}

void SessionCheckpoints::Unpack(const RestoringPtr& job, const Session& session) {
  lane_.PrepareRestore(job->record, session.image().manifest(), session.host_uid(),
                       [this, job, alive = alive_](auto material) {
                         if (!*alive || job->over) return;
                         if (!material) return FailRestore(job, std::move(material).error());
                         job->material = std::move(*material);
                         StartRestore(job);
                       });
}

void SessionCheckpoints::StartRestore(const RestoringPtr& job) {
  const Session* session = sessions_.Live(job->session);
  if (session == nullptr)
    return FailRestore(job, {ErrorKind::kUnavailable, 0, "its session was ended", {}, {}});
  const v1::SessionCheckpointRecord& record = job->record;
  CheckpointWorker::Order order{.words = session->WorkerWords(),
                                .process = session->init_pidfd(),
                                .mount = job->material->files.mount.get(),
                                .folder = job->material->files.directory.get(),
                                .criu = job->material->criu.get()};
  const auto add = [&](const char* name, uint64_t number) {
    order.words.push_back(name + ("=" + std::to_string(number)));
  };
  add("agent", static_cast<uint64_t>(record.agent()));
  add("descriptor", static_cast<uint64_t>(record.agent_descriptor()));
  add("last-number", static_cast<uint64_t>(record.last_number()));
  add("open-files", record.checkpoint().limits().open_files());
  order.words.push_back("denied=" + Joined(session->image().manifest().deny));
  auto worker = CheckpointWorker::Restore(
      loop_, order,
      [this, job](Result<CheckpointWorker::Restored> restored) {
        Arrived(job, std::move(restored));
      },
      [this, job] {
        loop_.Post([this, job, alive = alive_] {
          if (!*alive) return;
          job->worker.reset();
          job->material.reset();
          restoring_.erase(job->id);
        });
      });
  if (!worker) return FailRestore(job, std::move(worker).error());
  job->worker = std::move(*worker);
}

void SessionCheckpoints::Arrived(const RestoringPtr& job,
                                 Result<CheckpointWorker::Restored> restored) {
  if (job->over) return;
  if (!restored) return FailRestore(job, std::move(restored).error());
  Session* const session = sessions_.Live(job->session);
  if (session == nullptr)
    return FailRestore(job, {ErrorKind::kUnavailable, 0, "its session was ended", {}, {}});
  if (auto door = CheckDoor(restored->door); !door) return FailRestore(job, door.error());
  Session::Arrival arrival{
      .agent = std::move(restored->agent),
      .door = std::move(restored->door),
      .execs = {job->record.checkpoint().execs().begin(), job->record.checkpoint().execs().end()},
      .last_exec = job->record.last_exec_id()};
  session->Adopt(std::move(arrival), [this, job, session, alive = alive_](const Result<>& adopted) {
    if (!*alive || job->over) return;
    if (!adopted) return FailRestore(job, adopted.error());
    job->over = true;
    job->restored(session->Describe());
  });
}

void SessionCheckpoints::FailRestore(const RestoringPtr& job, Error error) {
  const bool told = std::exchange(job->over, true);
  if (job->worker) {
    job->worker->Kill();
  } else {
    restoring_.erase(job->id);
  }
  if (!job->session.empty())
    sessions_.CancelCreate(job->session, "it was not restored: " + error.Message());
  if (!told) job->restored(tl::unexpected(std::move(error)));
}

void SessionCheckpoints::CancelRestore(uint64_t id) {
  const auto found = restoring_.find(id);
  if (found == restoring_.end() || found->second->over) return;
  const RestoringPtr job = found->second;
  job->restored = [](const Result<v1::Session>&) {};
  FailRestore(job, {ErrorKind::kUnavailable, 0, "the client went away", {}, {}});
}

}  // namespace spore
