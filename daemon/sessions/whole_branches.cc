#include "daemon/sessions/whole_branches.h"

#include <utility>

namespace spore {

WholeBranches::WholeBranches(Sessions& sessions, SessionCheckpointLane& lane, SessionDumps& dumps,
                             SessionArrivals& arrivals)
    : sessions_(sessions),
      lane_(lane),
      dumps_(dumps),
      arrivals_(arrivals),
      alive_(std::make_shared<bool>(true)) {}

WholeBranches::~WholeBranches() {
  *alive_ = false;
}

uint64_t WholeBranches::Begin(Branches::Order order, Branches::Done done) {
  auto job = std::make_shared<Job>();
  job->id = ++last_id_;
  job->order = std::move(order);
  job->done = std::move(done);
  jobs_[job->id] = job;
  Session* const source = sessions_.Live(job->order.source);
  Result<> fit = MakeError(ErrorKind::kPrecondition, "the session has ended");
  if (source != nullptr) fit = SessionDumps::Check(*source);
  auto place = dumps_.TakePlace();
  if (fit && !place) fit = tl::unexpected(place.error());
  if (!fit) {
    Fail(job, fit.error());
    return job->id;
  }
  job->place = std::move(*place);
  lane_.PrepareCopy(source->host_uid(), SessionDumps::MostBytes(*source),
                    [this, job, alive = alive_](const auto& material) {
                      if (*alive && !job->over) Prepared(job, material);
                    });
  return job->id;
}

void WholeBranches::Prepared(const JobPtr& job,
                             const Result<SessionCheckpointLane::MaterialPtr>& material) {
  if (!material) return Fail(job, material.error());
  job->material = *material;
  dumps_.Start(
      {.session = job->order.source, .leave_running = true, .asked_ns = job->order.asked_ns},
      job->material, [this, job](const Result<SessionDumps::Dumped>& dumped) {
        if (job->over) return;
        if (!dumped) return Fail(job, dumped.error());
        job->response.set_stopped_us(dumped->stopped_us);
        *job->response.mutable_trace() = dumped->trace;
        NextCopy(job);
      });
}

// The last one gets the files themselves.
SessionArrivals::Order WholeBranches::ArrivalOf(const JobPtr& job) {
  SessionArrivals::Order arrival;
  arrival.record = job->material->record;
  arrival.settings = job->order.settings;
  arrival.settings.branch_of = job->order.source;
  arrival.settings.restored_from.clear();
  const bool is_last = job->made.size() + 1 == job->order.copies;
  arrival.prepare = [this, material = job->material, is_last](const ImageManifest&, uid_t uid,
                                                              auto prepared) {
    if (is_last) {
      lane_.HandOver(material, uid, std::move(prepared));
    } else {
      lane_.CopyFor(material, uid, std::move(prepared));
    }
  };
  return arrival;
}

void WholeBranches::NextCopy(const JobPtr& job) {
  const Session* source = sessions_.Live(job->order.source);
  if (source == nullptr)
    return Fail(job, {ErrorKind::kPrecondition, 0, "the session has ended", {}, {}});
  SessionArrivals::Order arrival = ArrivalOf(job);
  arrival.image = source->image().manifest().name;
  job->arrival = arrivals_.Start(std::move(arrival),
                                 [this, job, alive = alive_](const Result<Session*>& session) {
                                   if (*alive && !job->over) Copied(job, session);
                                 });
}

void WholeBranches::Copied(const JobPtr& job, const Result<Session*>& session) {
  job->arrival = 0;
  if (!session) return Fail(job, session.error());
  job->made.push_back((*session)->id());
  if (job->made.size() < job->order.copies) return NextCopy(job);
  Complete(job);
}

void WholeBranches::Complete(const JobPtr& job) {
  for (const std::string& id : job->made) {
    const Session* copy = sessions_.Live(id);
    if (copy == nullptr)
      return Fail(job, {ErrorKind::kUnavailable, 0, "a branch was ended", {}, {}});
    *job->response.add_sessions() = copy->Describe();
  }
  job->response.mutable_trace()->set_total_us((MonotonicNs() - job->order.asked_ns) / 1000);
  job->over = true;
  jobs_.erase(job->id);
  job->done(std::move(job->response));
}

void WholeBranches::Fail(const JobPtr& job, const Error& error) {
  const bool told = std::exchange(job->over, true);
  jobs_.erase(job->id);
  if (job->arrival != 0) arrivals_.Cancel(job->arrival);
  for (const std::string& id : job->made)
    sessions_.CancelCreate(id, "it did not become a branch: " + error.Message());
  if (!told) job->done(tl::unexpected(error));
}

void WholeBranches::Cancel(uint64_t id) {
  const auto found = jobs_.find(id);
  if (found == jobs_.end()) return;
  const JobPtr job = found->second;
  job->done = [](const Result<v1::BranchSandboxResponse>&) {};
  Fail(job, {ErrorKind::kUnavailable, 0, "the client went away", {}, {}});
}

}  // namespace spore
