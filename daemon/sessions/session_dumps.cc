#include "daemon/sessions/session_dumps.h"

#include <fcntl.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "daemon/common/unix_time.h"
#include "daemon/sessions/agent_door.h"

namespace spore {
namespace {

// CRIU itself. What it writes is charged to it, too: a tmpfs is the memory of who fills it.
constexpr uint64_t kCriuBytes = 256ull << 20;
constexpr uint32_t kCriuPids = 16;
constexpr int kMostAtOnce = 4;
constexpr std::chrono::seconds kParkPatience{10};
// What an agent and an interpreter share with their zygote is dumped with each.
constexpr uint64_t kSharedBytes = 1ull << 30;

Error Ended() {
  return {ErrorKind::kPrecondition, 0, "the session has ended", {}, {}};
}

// As of now.
void Describe(Session& session, v1::SessionCheckpointRecord& record) {
  v1::SessionCheckpoint& checkpoint = *record.mutable_checkpoint();
  const v1::Session info = session.Describe();
  checkpoint.set_runtime(info.runtime());
  checkpoint.set_language(info.language());
  checkpoint.set_label(info.label());
  *checkpoint.mutable_limits() = info.limits();
  *checkpoint.mutable_environment() = info.environment();
  checkpoint.set_network(info.network());
  const int64_t left_ms = info.expires_unix_ms() - NowUnixMs();
  checkpoint.set_ttl_ms(static_cast<uint64_t>(std::max<int64_t>(0, left_ms)));
  checkpoint.set_idle_timeout_ms(info.idle_timeout_ms());
  for (const v1::Execution& exec : session.execs().List())
    if (exec.kept()) *checkpoint.add_execs() = exec;
  checkpoint.set_interpreter(session.interpreter() != 0);
  if (session.interpreter() != 0) checkpoint.set_interpreter_runs(session.interpreter_runs());
  record.set_last_exec_id(static_cast<uint32_t>(info.execs()));
  record.set_agent(session.agent_number());
}

}  // namespace

SessionDumps::SessionDumps(EventLoop& loop, CgroupTree& cgroups, Sessions& sessions)
    : loop_(loop),
      cgroups_(cgroups),
      sessions_(sessions),
      alive_(std::make_shared<bool>(true)),
      fetching_(std::make_unique<BlockingLane>(loop)) {}

SessionDumps::~SessionDumps() {
  *alive_ = false;
  // Each worker's handlers hold its job.
  for (const auto& [id, job] : jobs_) job->worker.reset();
}

Result<> SessionDumps::Check(Session& session) {
  SPORE_TRY(session.CheckHere());
  for (const v1::Execution& exec : session.execs().List()) {
    if (exec.state() != v1::Execution::RUNNING || exec.kept()) continue;
    const std::string what = exec.args_size() > 0 ? " (" + exec.args(0) + ")" : "";
    return MakeError(ErrorKind::kPrecondition,
                     "a client's terminal or files are attached to exec " +
                         std::to_string(exec.exec_id()) + what + " of session " + session.id(),
                     "end it, or start it with --detach");
  }
  return {};
}

uint64_t SessionDumps::MostBytes(const Session& session) {
  const v1::Limits& limits = session.settings().limits;
  return limits.memory_bytes() + limits.tmp_bytes() + kSharedBytes;
}

Result<std::shared_ptr<void>> SessionDumps::TakePlace() {
  if (*places_ >= kMostAtOnce) {
    return MakeError(ErrorKind::kOverloaded,
                     std::to_string(*places_) + " sessions are being copied or put on disk",
                     "try again later");
  }
  ++*places_;
  return std::shared_ptr<void>(nullptr, [places = places_](void*) { --*places; });
}

void SessionDumps::Start(Order order, SessionCheckpointLane::MaterialPtr material, Done done) {
  auto job = std::make_shared<Job>();
  job->order = std::move(order);
  job->material = std::move(material);
  job->done = std::move(done);
  Session* const session = sessions_.Live(job->order.session);
  if (session == nullptr) return Fail(job, Ended());
  if (auto usable = Check(*session); !usable) return Fail(job, usable.error());
  job->use = session->Use();
  job->late = loop_.AddTimer(kParkPatience, [this, job] {
    job->late = 0;
    Fail(job, {ErrorKind::kPrecondition,
               0,
               "the session's agent does not answer",
               {},
               "what runs in the session may have stopped it, or uses all of its cpu"});
  });
  session->Park([this, job, alive = alive_](const Result<int32_t>& descriptor) {
    if (*alive) Parked(job, descriptor);
  });
}

void SessionDumps::Parked(const JobPtr& job, const Result<int32_t>& descriptor) {
  if (job->late != 0) loop_.CancelTimer(std::exchange(job->late, 0));
  if (!descriptor) return Fail(job, descriptor.error());
  const Session* session = sessions_.Live(job->order.session);
  if (session == nullptr) return Fail(job, Ended());
  job->material->record.set_agent_descriptor(*descriptor);
  const auto agent = std::make_shared<UniqueFd>(fcntl(session->agent_pidfd(), F_DUPFD_CLOEXEC, 0));
  auto door = std::make_shared<std::optional<Result<UniqueFd>>>();
  fetching_->Submit(
      [agent, door, number = *descriptor] { door->emplace(FetchDoor(*agent, number)); },
      [this, job, door, alive = alive_] {
        if (*alive) DoorFetched(job, std::move(**door));
      });
}

void SessionDumps::DoorFetched(const JobPtr& job, Result<UniqueFd> door) {
  Session* const session = sessions_.Live(job->order.session);
  if (session == nullptr) return Fail(job, Ended());
  if (!door) {
    session->Kill(v1::Death::PROTOCOL, door.error().Message());
    return Fail(job, door.error());
  }
  job->door = std::make_shared<UniqueFd>(std::move(*door));
  if (job->told) return GoOnThenFail(job, Ended());  // it was late
  Describe(*session, job->material->record);
  if (auto started = StartWorker(job, *session); !started) GoOnThenFail(job, started.error());
}

Result<> SessionDumps::StartWorker(const JobPtr& job, Session& session) {
  const uint64_t number = ++last_id_;
  SPORE_ASSIGN(
      job->cgroup,
      cgroups_.Create(session.image().manifest().name, "dump-" + std::to_string(number),
                      {.memory_bytes = MostBytes(session) + kCriuBytes, .pids = kCriuPids}));
  CheckpointWorker::Order order{.words = session.WorkerWords(),
                                .process = session.agent_pidfd(),
                                .mount = job->material->files.mount.get(),
                                .folder = job->material->files.directory.get(),
                                .criu = job->material->criu.get()};
  order.words.push_back("agent=" + std::to_string(job->material->record.agent()));
  for (const std::string& path : job->cgroup->Paths()) order.words.push_back("enter=" + path);
  if (job->order.leave_running) order.words.emplace_back("leave-running");
  SPORE_ASSIGN(job->worker,
               CheckpointWorker::Checkpoint(
                   loop_, order,
                   [this, job](const CheckpointWorker::Dumped& dumped) { OnDumped(job, dumped); },
                   [this, number] {
                     // It is the caller.
                     loop_.Post([this, number, alive = alive_] {
                       if (!*alive) return;
                       const JobPtr over = jobs_.extract(number).mapped();
                       over->worker.reset();
                       over->cgroup.reset();
                     });
                   }));
  jobs_[number] = job;
  return {};
}

void SessionDumps::OnDumped(const JobPtr& job, const CheckpointWorker::Dumped& dumped) {
  using wire::SessionFate;
  Session* const session = sessions_.Live(job->order.session);
  if (session == nullptr) return Fail(job, Ended());
  Error error = dumped.error.value_or(
      Error{ErrorKind::kInternal, 0, "its processes were not dumped", {}, {}});
  switch (dumped.done.fate) {
    case SessionFate::kLost:
      session->Kill(v1::Death::DAEMON, "it was lost on its way to the disk: " + error.Message());
      error.operation += "; the session has ended";
      return Fail(job, error);
    case SessionFate::kGoesOn:
      return GoOnThenFail(job, error);
    case SessionFate::kDumped:
      break;
  }
  job->material->record.set_last_number(dumped.done.last_number);
  job->material->record.set_monotonic_ns(dumped.done.monotonic_ns);
  job->material->record.set_boottime_ns(dumped.done.boottime_ns);
  job->material->record.mutable_checkpoint()->set_processes(dumped.done.processes);
  Dumped result{dumped.done.stopped_us,
                TraceOfWorker("checkpoint", dumped.done.steps, job->order.asked_ns), job->door};
  const auto tell = [this, job, result = std::move(result)](const Result<>&) { Tell(job, result); };
  if (!job->order.leave_running) return tell({});
  GoOn(job->order.session, *job->door, tell);
}

void SessionDumps::GoOn(const std::string& id, const UniqueFd& door, Then then) {
  Session* const session = sessions_.Live(id);
  if (session == nullptr) return then(tl::unexpected(Ended()));
  session->Unpark(door,
                  [this, id, then = std::move(then), alive = alive_](const Result<>& unparked) {
                    if (!*alive) return;
                    Session* const lost = unparked ? nullptr : sessions_.Live(id);
                    if (lost != nullptr)
                      lost->Kill(v1::Death::PROTOCOL, unparked.error().Message());
                    then(unparked);
                  });
}

void SessionDumps::Fail(const JobPtr& job, const Error& error) {
  Tell(job, tl::unexpected(error));
}

void SessionDumps::GoOnThenFail(const JobPtr& job, const Error& error) {
  GoOn(job->order.session, *job->door, [this, job, error](const Result<>&) { Fail(job, error); });
}

void SessionDumps::Tell(const JobPtr& job, const Result<Dumped>& result) {
  if (std::exchange(job->told, true)) return;
  job->use.reset();
  job->done(result);
}

}  // namespace spore
