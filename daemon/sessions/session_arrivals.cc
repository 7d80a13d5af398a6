#include "daemon/sessions/session_arrivals.h"

#include <fmt/format.h>

#include <utility>
#include <vector>

#include "daemon/sessions/agent_door.h"

namespace spore {
namespace {

// Each holds memory of the host's until its processes have it.
constexpr size_t kMostAtOnce = 8;

CheckpointWorker::Order WorkerOrder(const Session& session,
                                    const SessionCheckpointLane::Material& material,
                                    const v1::SessionCheckpointRecord& record) {
  CheckpointWorker::Order order{.words = session.WorkerWords(),
                                .process = session.init_pidfd(),
                                .mount = material.files.mount.get(),
                                .folder = material.files.directory.get(),
                                .criu = material.criu.get()};
  const auto add = [&](const std::string& name, uint64_t number) {
    order.words.push_back(name + "=" + std::to_string(number));
  };
  add("agent", static_cast<uint64_t>(record.agent()));
  add("descriptor", static_cast<uint64_t>(record.agent_descriptor()));
  add("last-number", static_cast<uint64_t>(record.last_number()));
  add("open-files", record.checkpoint().limits().open_files());
  add("monotonic-ns", record.monotonic_ns());
  add("boottime-ns", record.boottime_ns());
  order.words.push_back(fmt::format("denied={}", fmt::join(session.image().manifest().deny, ",")));
  return order;
}

}  // namespace

SessionArrivals::SessionArrivals(EventLoop& loop, Sessions& sessions)
    : loop_(loop), sessions_(sessions), alive_(std::make_shared<bool>(true)) {}

SessionArrivals::~SessionArrivals() {
  *alive_ = false;
  // Each worker's handlers hold its job.
  for (const auto& [id, job] : jobs_) job->worker.reset();
}

uint64_t SessionArrivals::Start(Order order, Done done) {
  if (jobs_.size() >= kMostAtOnce) {
    done(MakeError(ErrorKind::kOverloaded,
                   std::to_string(jobs_.size()) + " sessions are being restored",
                   "try again later"));
    return 0;
  }
  auto job = std::make_shared<Job>();
  job->id = ++last_id_;
  job->order = std::move(order);
  job->order.settings.arrives = true;
  job->done = std::move(done);
  jobs_[job->id] = job;
  const std::string id =
      sessions_.Create(job->order.image, job->order.settings,
                       [this, job, alive = alive_](const Result<Session*>& made) {
                         if (!*alive || job->over) return;
                         if (!made) return Fail(job, made.error());
                         Made(job, **made);
                       });
  job->session = id;
  return job->id;
}

void SessionArrivals::Made(const JobPtr& job, const Session& session) {
  job->session = session.id();
  job->order.prepare(session.image().manifest(), session.host_uid(),
                     [this, job, alive = alive_](auto material) {
                       if (!*alive || job->over) return;
                       if (!material) return Fail(job, material.error());
                       job->material = std::move(*material);
                       StartWorker(job);
                     });
}

void SessionArrivals::StartWorker(const JobPtr& job) {
  const Session* session = sessions_.Live(job->session);
  if (session == nullptr)
    return Fail(job, {ErrorKind::kUnavailable, 0, "its session was ended", {}, {}});
  auto worker = CheckpointWorker::Restore(
      loop_, WorkerOrder(*session, *job->material, job->order.record),
      [this, job](Result<CheckpointWorker::Restored> restored) {
        OnRestored(job, std::move(restored));
      },
      [this, job] {
        // It is the caller.
        loop_.Post([this, job, alive = alive_] {
          if (*alive) Release(job);
        });
      });
  if (!worker) return Fail(job, worker.error());
  job->worker = std::move(*worker);
}

void SessionArrivals::OnRestored(const JobPtr& job, Result<CheckpointWorker::Restored> restored) {
  if (job->over) return;
  if (!restored) return Fail(job, restored.error());
  Session* const session = sessions_.Live(job->session);
  if (session == nullptr)
    return Fail(job, {ErrorKind::kUnavailable, 0, "its session was ended", {}, {}});
  if (auto door = CheckDoor(restored->door); !door) return Fail(job, door.error());
  const auto& execs = job->order.record.checkpoint().execs();
  Session::Arrival arrival{.agent = std::move(restored->agent),
                           .door = std::move(restored->door),
                           .execs = {execs.begin(), execs.end()},
                           .last_exec = job->order.record.last_exec_id()};
  session->Adopt(std::move(arrival), [this, job, alive = alive_](const Result<>& adopted) {
    if (!*alive || job->over) return;
    if (!adopted) return Fail(job, adopted.error());
    Session* const complete = sessions_.Live(job->session);
    if (complete == nullptr)
      return Fail(job, {ErrorKind::kUnavailable, 0, "its session was ended", {}, {}});
    job->over = true;
    if (!job->worker) Release(job);
    job->done(complete);
  });
}

void SessionArrivals::Fail(const JobPtr& job, const Error& error) {
  const bool told = std::exchange(job->over, true);
  if (job->worker) {
    job->worker->Kill();
  } else {
    Release(job);
  }
  if (!job->session.empty())
    sessions_.CancelCreate(job->session, "it was not restored: " + error.Message());
  if (!told) job->done(tl::unexpected(error));
}

// Its worker has ended, or there is none. Until it is over it can be cancelled.
void SessionArrivals::Release(const JobPtr& job) {
  job->worker.reset();
  job->material.reset();
  if (job->over) jobs_.erase(job->id);
}

void SessionArrivals::Cancel(uint64_t id) {
  const auto found = jobs_.find(id);
  if (found == jobs_.end() || found->second->over) return;
  const JobPtr job = found->second;
  job->done = [](const Result<Session*>&) {};
  Fail(job, {ErrorKind::kUnavailable, 0, "the client went away", {}, {}});
}

}  // namespace spore
