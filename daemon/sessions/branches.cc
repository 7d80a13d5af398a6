#include "daemon/sessions/branches.h"

#include <algorithm>
#include <utility>

namespace spore {
namespace {

constexpr size_t kMostWaiting = 16;  // of one source

}  // namespace

Branches::Branches(EventLoop& loop, Sessions& sessions)
    : loop_(loop), sessions_(sessions), alive_(std::make_shared<bool>(true)) {}

Branches::~Branches() {
  *alive_ = false;
  // Each worker's handlers hold its job.
  for (const auto& [source, jobs] : jobs_)
    for (const JobPtr& job : jobs) job->worker.reset();
}

uint64_t Branches::Begin(Order order, Done done) {
  std::deque<JobPtr>& jobs = jobs_[order.source];
  if (jobs.size() >= kMostWaiting) {
    done(MakeError(ErrorKind::kOverloaded,
                   std::to_string(jobs.size()) + " branches of the session wait already",
                   "try again later"));
    return 0;
  }
  auto job = std::make_shared<Job>();
  job->id = ++last_id_;
  job->order = std::move(order);
  job->done = std::move(done);
  jobs.push_back(job);
  if (jobs.size() == 1) Start(job);
  return job->id;
}

void Branches::Start(const JobPtr& job) {
  Session* const source = sessions_.Live(job->order.source);
  const auto gone =
      MakeError(ErrorKind::kPrecondition, "session " + job->order.source + " has ended").value();
  if (source == nullptr) return Fail(job, gone);
  if (auto usable = source->CheckHere(); !usable) return Fail(job, usable.error());
  job->use = source->Use();
  job->waiting = job->order.copies;
  for (uint32_t i = 0; i < job->order.copies && !job->over; ++i) {
    job->ids.push_back(sessions_.CreateBranch(*source, job->order.settings,
                                              [this, job, alive = alive_](Result<Session*> made) {
                                                if (*alive) Created(job, made);
                                              }));
  }
  // One may have failed before its id was known.
  if (job->over) Fail(job, gone);
}

void Branches::Created(const JobPtr& job, const Result<Session*>& session) {
  if (job->over) return;
  if (!session) return Fail(job, session.error());
  if (--job->waiting == 0) StartWorker(job);
}

Result<BranchWorker::Order> Branches::WorkerOrder(const Job& job) {
  const Session* source = sessions_.Live(job.order.source);
  if (source == nullptr)
    return MakeError(ErrorKind::kPrecondition, "session " + job.order.source + " has ended");
  SPORE_TRY(source->CheckHere());
  BranchWorker::Order order;
  order.source_pidfd = source->agent_pidfd();
  order.interpreter = source->interpreter();
  order.running = source->code_running();
  order.alone = job.order.only_interpreter;
  order.cgroup = source->cgroup_paths().front();
  for (const std::string& id : job.ids) {
    const Session* copy = sessions_.Live(id);
    if (copy == nullptr) return MakeError(ErrorKind::kUnavailable, "a branch was ended");
    order.targets.push_back({copy->host_uid(), copy->cgroup_paths(), copy->agent_pidfd()});
  }
  return order;
}

void Branches::StartWorker(const JobPtr& job) {
  auto order = WorkerOrder(*job);
  if (!order) return Fail(job, order.error());
  auto worker =
      BeginWorker(*order, {.on_ready =
                               [this, job, alive = alive_] {
                                 if (*alive) StartInterpreters(job);
                               },
                           .on_done =
                               [this, job, alive = alive_](Result<wire::BranchDone> done) {
                                 if (*alive) Copied(job, std::move(done));
                               },
                           .on_ended =
                               [this, job, alive = alive_] {
                                 if (*alive) Finish(job);
                               }});
  if (!worker) return Fail(job, worker.error());
  job->worker = std::move(*worker);
}

Result<std::unique_ptr<BranchWorker>> Branches::BeginWorker(
    const BranchWorker::Order& order, const BranchWorker::Handlers& handlers) {
  std::unique_ptr<BranchWorker> worker = std::move(spare_);
  if (worker && worker->Begin(order, handlers)) return worker;
  SPORE_ASSIGN(worker, BranchWorker::Start(loop_, [] {}));
  SPORE_TRY(worker->Begin(order, handlers));
  return worker;
}

// When nobody waits for what takes the loop a moment.
void Branches::StartSpare() {
  if (spare_) return;
  auto spare = BranchWorker::Start(loop_, [this, alive = alive_] {
    if (*alive) spare_.reset();
  });
  if (spare) spare_ = std::move(*spare);
}

void Branches::StartInterpreters(const JobPtr& job) {
  const Session* source = sessions_.Live(job->order.source);
  if (job->over || source == nullptr) return job->worker->Terminate();
  job->interpreters.assign(job->ids.size(), 0);
  job->waiting = job->ids.size();
  for (size_t i = 0; i < job->ids.size(); ++i) {
    Session* copy = sessions_.Live(job->ids[i]);
    if (copy == nullptr) return job->worker->Terminate();
    copy->AdoptInterpreter(source->interpreter_runs(),
                           [this, job, i, alive = alive_](Result<int32_t> number) {
                             if (!*alive || job->over || !job->worker) return;
                             if (number) job->interpreters[i] = *number;
                             if (--job->waiting == 0)
                               job->worker->TellInterpreters(job->interpreters);
                           });
  }
}

void Branches::Copied(const JobPtr& job, Result<wire::BranchDone> done) {
  if (job->over) return;
  if (!done) return Fail(job, std::move(done).error());
  v1::BranchSandboxResponse response;
  std::vector<Session*> copies;
  for (const std::string& id : job->ids) {
    copies.push_back(sessions_.Live(id));
    if (copies.back() == nullptr)
      return Fail(job, {ErrorKind::kUnavailable, 0, "a branch was ended", {}, {}});
  }
  for (Session* copy : copies) {
    copy->BranchDone();
    *response.add_sessions() = copy->Describe();
  }
  response.set_stopped_us(done->stopped_us);
  response.set_copied_bytes(done->copied_bytes);
  *response.mutable_trace() = TraceOfWorker("branch", done->steps, job->order.asked_ns);
  job->over = true;
  job->use.reset();
  job->done(std::move(response));
}

void Branches::Fail(const JobPtr& job, Error error) {
  const bool told = std::exchange(job->over, true);
  job->use.reset();
  if (job->worker) job->worker->Terminate();
  for (const std::string& id : std::exchange(job->ids, {}))
    sessions_.CancelCreate(id, "it did not become a branch: " + error.Message());
  if (!told) job->done(tl::unexpected(std::move(error)));
  if (!job->worker) Finish(job);
}

void Branches::Cancel(uint64_t id) {
  for (const auto& [source, jobs] : jobs_) {
    for (const JobPtr& job : jobs) {
      if (job->id != id || job->over) continue;
      const JobPtr held = job;
      held->done = [](const Result<v1::BranchSandboxResponse>&) {};
      return Fail(held, {ErrorKind::kUnavailable, 0, "the client went away", {}, {}});
    }
  }
}

// Not at once: the caller is in the middle of something.
void Branches::Finish(const JobPtr& job) {
  loop_.Post([this, job, alive = alive_] {
    if (!*alive) return;
    if (job->worker) StartSpare();
    job->worker.reset();
    const auto found = jobs_.find(job->order.source);
    if (found == jobs_.end()) return;
    const bool was_first = found->second.front() == job;
    std::erase(found->second, job);
    if (found->second.empty()) {
      jobs_.erase(found);
    } else if (was_first) {
      Start(found->second.front());
    }
  });
}

}  // namespace spore
