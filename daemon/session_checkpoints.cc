#include "daemon/session_checkpoints.h"

#include <algorithm>
#include <utility>

#include "daemon/unix_time.h"

namespace spore {
namespace {

// CRIU itself, and what it writes, which is charged to it: a tmpfs is the memory of who fills it.
constexpr uint64_t kCriuBytes = 256ull << 20;
constexpr uint32_t kCriuPids = 16;
// What an agent and an interpreter share with their zygote is dumped with each.
constexpr uint64_t kSharedBytes = 1ull << 30;

Result<> CheckDetached(Session& session) {
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

uint64_t MostDumped(const Session& session) {
  const v1::Limits& limits = session.settings().limits;
  return limits.memory_bytes() + limits.tmp_bytes() + kSharedBytes;
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
  record.set_uid(session.uid());
  record.set_interpreter(session.interpreter());
  record.set_code_runs(info.code_runs());
  record.set_last_exec_id(static_cast<uint32_t>(info.execs()));
}

}  // namespace

SessionCheckpoints::SessionCheckpoints(EventLoop& loop, CgroupTree& cgroups, Images& images,
                                       Sessions& sessions, SessionCheckpointLane& lane,
                                       const SessionsConfig& config)
    : loop_(loop),
      cgroups_(cgroups),
      images_(images),
      sessions_(sessions),
      lane_(lane),
      config_(config),
      alive_(std::make_shared<bool>(true)) {}

SessionCheckpoints::~SessionCheckpoints() {
  *alive_ = false;
  // Each worker's handlers hold its job.
  for (const auto& [id, job] : dumping_) job->worker.reset();
  for (const auto& [id, job] : restoring_) job->worker.reset();
}

void SessionCheckpoints::Create(Order order, Created created) {
  Session* const session = sessions_.Live(order.session);
  Result<> usable = session != nullptr
                        ? session->CheckUsable()
                        : MakeError(ErrorKind::kPrecondition, "the session has ended");
  if (usable) usable = CheckDetached(*session);
  if (!usable) return created(tl::unexpected(usable.error()));
  auto dump = std::make_shared<Dump>();
  dump->use = session->Use();
  dump->created = std::move(created);
  const SessionCheckpointLane::DumpOrder prepare{.name = order.name,
                                                 .session = session->id(),
                                                 .owner = session->owner(),
                                                 .uid = session->host_uid(),
                                                 .max_bytes = MostDumped(*session)};
  dump->order = std::move(order);
  lane_.PrepareDump(prepare, session->image().manifest(),
                    [this, dump, alive = alive_](auto material) {
                      if (*alive) Prepared(dump, std::move(material));
                    });
}

void SessionCheckpoints::Prepared(const DumpPtr& dump,
                                  Result<SessionCheckpointLane::MaterialPtr> material) {
  if (!material) return FailDump(dump, std::move(material).error());
  dump->material = std::move(*material);
  Session* const session = sessions_.Live(dump->order.session);
  if (session == nullptr)
    return FailDump(dump, {ErrorKind::kPrecondition, 0, "the session has ended", {}, {}});
  Result<> usable = session->CheckUsable();
  if (usable) usable = CheckDetached(*session);
  if (!usable) return FailDump(dump, usable.error());
  session->Park([this, dump, session, alive = alive_](Result<int32_t> descriptor) {
    if (!*alive) return;
    if (!descriptor) return FailDump(dump, std::move(descriptor).error());
    dump->descriptor = *descriptor;
    auto started = StartDump(dump, *session);
    if (started) return;
    GoOn(dump, [this, dump, error = started.error()](const Result<>&) { FailDump(dump, error); });
  });
}

Result<> SessionCheckpoints::StartDump(const DumpPtr& dump, Session& session) {
  v1::SessionCheckpointRecord& record = dump->material->record;
  Describe(session, record);
  record.set_agent(session.agent_number());
  record.set_agent_descriptor(dump->descriptor);
  const uint64_t number = ++last_id_;
  const std::string group = session.image().manifest().name;
  SPORE_ASSIGN(dump->cgroup, cgroups_.Create(group, "dump-" + std::to_string(number),
                                             {.memory_bytes = MostDumped(session) + kCriuBytes,
                                              .cpu_millis = 0,
                                              .pids = kCriuPids}));
  CheckpointWorker::Order order{.words = session.WorkerWords(),
                                .process = session.agent_pidfd(),
                                .mount = dump->material->files.mount.get(),
                                .folder = dump->material->files.directory.get(),
                                .criu = dump->material->criu.get()};
  order.words.push_back("agent=" + std::to_string(record.agent()));
  for (const std::string& path : dump->cgroup->Paths()) order.words.push_back("enter=" + path);
  if (dump->order.leave_running) order.words.emplace_back("leave-running");
  SPORE_ASSIGN(dump->worker, CheckpointWorker::Checkpoint(
                                 loop_, order,
                                 [this, dump](CheckpointWorker::Dumped dumped) {
                                   Dumped(dump, std::move(dumped));
                                 },
                                 [this, dump, number] {
                                   loop_.Post([this, dump, number, alive = alive_] {
                                     if (!*alive) return;
                                     dump->worker.reset();
                                     dump->cgroup.reset();
                                     dumping_.erase(number);
                                   });
                                 }));
  dumping_[number] = dump;
  return {};
}

void SessionCheckpoints::Dumped(const DumpPtr& dump, CheckpointWorker::Dumped dumped) {
  using wire::SessionFate;
  Session* const session = sessions_.Live(dump->order.session);
  if (session == nullptr || dumped.done.fate == SessionFate::kLost) {
    Error error = dumped.error.value_or(
        Error{ErrorKind::kPrecondition, 0, "the session has ended meanwhile", {}, {}});
    if (session != nullptr) {
      session->Kill(v1::Death::DAEMON,
                    "it could not be put on disk, and was lost: " + error.Message());
      error.operation += "; the session has ended";
    }
    return FailDump(dump, std::move(error));
  }
  if (dumped.error || dumped.done.fate == SessionFate::kGoesOn) {
    const Error error = dumped.error.value_or(
        Error{ErrorKind::kInternal, 0, "the session was not put on disk", {}, {}});
    return GoOn(dump, [this, dump, error](const Result<>&) { FailDump(dump, error); });
  }
  dump->response.set_stopped_us(dumped.done.stopped_us);
  *dump->response.mutable_trace() =
      TraceOfWorker("checkpoint", dumped.done.steps, dump->order.asked_ns);
  dump->material->record.set_last_number(dumped.done.last_number);
  dump->material->record.mutable_checkpoint()->set_processes(dumped.done.processes);
  if (!dump->order.leave_running) return Keep(dump);
  GoOn(dump, [this, dump](const Result<>&) { Keep(dump); });
}

void SessionCheckpoints::Keep(const DumpPtr& dump) {
  lane_.Keep(dump->material, [this, dump, alive = alive_](auto kept) {
    if (*alive) Kept(dump, std::move(kept));
  });
}

void SessionCheckpoints::Kept(const DumpPtr& dump, Result<v1::SessionCheckpointRecord> kept) {
  const auto told = [this, dump, kept](const Result<>&) {
    dump->use.reset();
    if (!kept) return FailDump(dump, kept.error());
    *dump->response.mutable_checkpoint() = kept->checkpoint();
    dump->response.mutable_trace()->set_total_us((MonotonicNs() - dump->order.asked_ns) / 1000);
    dump->created(dump->response);
  };
  Session* const session = sessions_.Live(dump->order.session);
  if (session == nullptr || dump->order.leave_running) return told({});
  if (!kept) return GoOn(dump, told);
  session->OnGone([told] { told({}); });
  session->Kill(v1::Death::KILLED, "it was put on disk as checkpoint " + kept->checkpoint().name());
}

void SessionCheckpoints::GoOn(const DumpPtr& dump, std::function<void(Result<>)> then) {
  Session* const session = sessions_.Live(dump->order.session);
  if (session == nullptr) return then(MakeError(ErrorKind::kPrecondition, "the session has ended"));
  session->Unpark(dump->descriptor, [id = dump->order.session, this, then = std::move(then),
                                     alive = alive_](const Result<>& unparked) {
    if (!*alive) return;
    Session* const lost = unparked ? nullptr : sessions_.Live(id);
    if (lost != nullptr) lost->Kill(v1::Death::PROTOCOL, unparked.error().Message());
    then(unparked);
  });
}

void SessionCheckpoints::FailDump(const DumpPtr& dump, Error error) {
  dump->use.reset();
  if (dump->material) lane_.Abandon(dump->material);
  if (const Created created = std::exchange(dump->created, nullptr))
    created(tl::unexpected(std::move(error)));
}

}  // namespace spore
