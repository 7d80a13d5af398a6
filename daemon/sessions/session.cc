#include "daemon/sessions/session.h"

#include <fcntl.h>

#include <algorithm>
#include <utility>

#include "daemon/common/pidfd.h"
#include "daemon/common/unix_time.h"
#include "sandbox/sys/fd_message.h"

namespace spore {
namespace {

using session::Op;
using session::Reader;
using session::Tag;

// How long an agent may take between closing its channel and being reported as ended.
constexpr std::chrono::milliseconds kEndGrace{200};
constexpr uint64_t kFreezeLimitNs = 2'000'000'000;
constexpr std::chrono::milliseconds kFreezeLook{1};
constexpr size_t kFirstWrite = 96 * 1024;
constexpr std::chrono::seconds kAdoptPatience{30};

std::string Seconds(uint64_t ms) {
  std::string text = std::to_string(ms / 1000);
  if (ms % 1000 != 0) {
    std::string rest = std::to_string(1000 + ms % 1000).substr(1);
    text += "." + rest.substr(0, rest.find_last_not_of('0') + 1);
  }
  return text + " s";
}

}  // namespace

Session::Session(EventLoop& loop, Owner& owner, ZygoteImage& image, EgressProxies& proxies,
                 SessionSettings settings)
    : loop_(loop),
      owner_(owner),
      image_(image),
      proxies_(proxies),
      settings_(std::move(settings)),
      created_unix_ms_(NowUnixMs()),
      created_ns_(MonotonicNs()),
      log_(std::make_shared<SessionLog>(loop, settings_.id)),
      alive_(std::make_shared<bool>(true)) {
  expires_ns_ = created_ns_ + settings_.ttl_ms * 1'000'000;
  expires_unix_ms_ = created_unix_ms_ + static_cast<int64_t>(settings_.ttl_ms);
  ArmTtl();
}

Session::~Session() {
  *alive_ = false;
  CancelTimers();
}

void Session::CancelTimers() {
  for (EventLoop::TimerId* timer : {&ttl_timer_, &idle_timer_, &closed_timer_, &frozen_timer_}) {
    if (*timer != 0) loop_.CancelTimer(*timer);
    *timer = 0;
  }
}

void Session::Start(Result<ZygoteImage::Lease> lease, Started started) {
  started_ = std::move(started);
  if (!lease) {
    start_error_ = std::move(lease).error();
    return BeginDying();
  }
  start_kind_ = lease->start_kind;
  generation_ = lease->generation;
  pool_ = lease->pool;
  sandbox_ = std::move(lease->sandbox);
  sandbox_uid_ = sandbox_->uid;
  cgroup_paths_ = sandbox_->cgroup.Paths();
  sandbox_->on_init_ended = [this] { BeginDying(); };
  if (auto launched = Launch(); !launched) {
    start_error_ = std::move(launched).error().Wrap("start a session");
    return BeginDying();
  }
  image_.CountFork(*generation_);
}

Result<> Session::Launch() {
  SPORE_TRY(sandbox_->cgroup.SetLimits(
      {.memory_bytes = settings_.limits.memory_bytes(),
       .cpu_millis = settings_.limits.cpu_millis(),
       .pids = settings_.limits.pids() + (settings_.egress ? 1 : 0),
       .sockets = sandbox_->listener.valid() || image_.manifest().loopback,
       .end_whole = false}));
  if (settings_.egress) SPORE_TRY(StartEgress());
  if (settings_.arrives) return Empty();
  generation_->link->OnExit(sandbox_->runtime_pid,
                            [this, alive = alive_](const ZygoteLink::Exit& exited) {
                              if (*alive) OnAgentEnded(exited);
                            });
  return Specialise();
}

Result<> Session::StartEgress() {
  egress_ = std::make_unique<SessionEgress>(
      loop_, proxies_, *settings_.egress, std::move(sandbox_->listener), sandbox_->cgroup,
      SessionEgress::Handlers{
          .on_first =
              [this](Result<> result) {
                has_way_out_ = result.has_value();
                if (result) return BeginRunning();
                start_error_ = std::move(result).error();
                BeginDying();
              },
          .log = [this](const std::string& line) { log_->Append(v1::LogLine::SYSTEM, line); }});
  return egress_->Start();
}

Result<> Session::Specialise() {
  wire::Specialise order;
  order.mode = wire::Mode::kSession;
  order.open_files = settings_.limits.open_files();
  if (settings_.limits.tmp_bytes() != sandbox_->tmp_bytes)
    order.tmp_bytes = settings_.limits.tmp_bytes();
  const wire::FrameHeader header{wire::FrameType::kSpecialise, sizeof order, 0};
  std::string bytes(reinterpret_cast<const char*>(&header), sizeof header);
  bytes.append(reinterpret_cast<const char*>(&order), sizeof order);
  bytes += LoadFrame();
  agent_pidfd_ = std::move(sandbox_->runtime_pidfd);
  // Its own output goes nowhere: what it starts has streams of its own.
  const UniqueFd null(open("/dev/null", O_WRONLY | O_CLOEXEC));
  if (!null) return SysError("open", "/dev/null");
  const int fds[] = {null.get(), null.get()};
  UniqueFd channel = std::move(sandbox_->channel);
  // It fits the empty socket, whose buffers are larger (unix(7), wmem_default).
  if (bytes.size() > kFirstWrite)
    return MakeError(ErrorKind::kInvalid, "environment: too large together with the image's");
  SPORE_TRY(SendMessage(channel.get(), std::as_bytes(std::span(bytes)), fds));
  MakeAgent(std::move(channel));
  return {};
}

void Session::MakeAgent(UniqueFd channel) {
  agent_ = std::make_unique<AgentLink>(
      loop_, std::move(channel),
      AgentLink::Handlers{.on_confined = [this](const Frame& frame) { OnConfined(frame); },
                          .on_event = [this](Reader& event) { return OnEvent(event); },
                          .on_rubbish =
                              [this](const std::string& what) {
                                Kill(v1::Death::PROTOCOL,
                                     "its agent was made to talk rubbish: " + what);
                              },
                          .on_close = [this](int) { OnClosed(); }});
  execs_ = std::make_unique<ExecTable>(loop_, *agent_, [this] { return OomKills(); });
  code_ = std::make_unique<SessionCode>(loop_, *agent_);
}

std::string Session::LoadFrame() const {
  session::Writer load;
  load.PutNumber(Tag::kLimit, settings_.limits.output_bytes());
  std::map<std::string, std::string> environment = image_.manifest().environment;
  if (settings_.egress)
    for (const auto& [name, value] : EgressEnvironment()) environment[name] = value;
  for (const auto& [name, value] : settings_.environment) environment[name] = value;
  for (const auto& [name, value] : environment) load.Put(Tag::kVariable, name + "=" + value);
  const wire::FrameHeader header{wire::FrameType::kLoad, static_cast<uint32_t>(load.size()), 0};
  return std::string(reinterpret_cast<const char*>(&header), sizeof header) + load.body();
}

uint64_t Session::OomKills() const {
  if (!sandbox_) return 0;
  const auto usage = sandbox_->cgroup.Usage();
  return usage ? usage->oom_kills : 0;
}

void Session::OnConfined(const Frame& frame) {
  auto confined = ParseConfined(frame.body);
  if (!confined) return Kill(v1::Death::PROTOCOL, "its confinement is told wrongly");
  if (confined->failure.failed()) {
    start_error_ = Error{
        ErrorKind::kInternal,
        confined->failure.errno_value,
        confined->failure.operation,
        {},
        {}}.Wrap("confine a session");
    return BeginDying();
  }
  confined_ = true;
  BeginRunning();
}

// When its agent is confined, or its sandbox empty, and its proxy serves.
void Session::BeginRunning() {
  const bool is_there = confined_ || emptied_;
  if (state_ != v1::Session::STARTING || !is_there || (settings_.egress && !has_way_out_)) return;
  if (settings_.branch_of.empty() && !settings_.arrives) {
    state_ = v1::Session::RUNNING;
    log_->Append(v1::LogLine::SYSTEM, "created from image " + image_.manifest().name);
    idle_since_unix_ms_ = NowUnixMs();
    ArmIdle();
  }
  if (const Started started = std::exchange(started_, nullptr)) started({});
}

void Session::BranchDone() {
  if (state_ != v1::Session::STARTING) return;
  state_ = v1::Session::RUNNING;
  log_->Append(v1::LogLine::SYSTEM, "branched from session " + settings_.branch_of);
  idle_since_unix_ms_ = NowUnixMs();
  ArmIdle();
}

void Session::AdoptInterpreter(uint64_t runs, std::function<void(Result<int32_t>)> done) {
  session::Writer ask(Op::kAdoptCode);
  ask.PutNumber(Tag::kRun, runs);
  agent_->Ask(ask.Take(), kAdoptPatience,
              [this, alive = alive_, runs, done = std::move(done)](Result<std::string> answer) {
                if (!answer) return done(tl::unexpected(std::move(answer).error()));
                if (*alive) runs_elsewhere_ = runs;
                done(static_cast<int32_t>(Reader(*answer).GetNumber(Tag::kPid) & 0x7fffffff));
              });
}

bool Session::OnEvent(Reader& event) {
  if (dying()) return true;
  switch (event.op()) {
    case Op::kExecEnded:
      return execs_->OnEnded(event);
    case Op::kBackground:
      log_->Append(event.Has(session::kStderr) ? v1::LogLine::STDERR : v1::LogLine::STDOUT,
                   event.Get(Tag::kData));
      return false;
    case Op::kCodeChanged:
      interpreter_ = static_cast<int32_t>(event.GetNumber(Tag::kPid) & 0x7fffffff);
      // It begins with the piece that is running already, unless it is a branch's.
      runs_before_ = code_->runs() - (code_->running() ? 1 : 0);
      runs_elsewhere_ = 0;
      log_->Append(v1::LogLine::SYSTEM, event.GetNumber(Tag::kPid) != 0
                                            ? "an interpreter has started"
                                            : "the interpreter has ended");
      return false;
    default:
      return false;
  }
}

void Session::OnClosed() {
  if (dying()) return;
  // Its end is about to be reported, if it has ended.
  closed_timer_ = loop_.AddTimer(kEndGrace, [this] {
    closed_timer_ = 0;
    Kill(v1::Death::PROTOCOL, "its agent closed its channel");
  });
}

void Session::OnAgentEnded(const ZygoteLink::Exit& exited) {
  facts_.runtime = exited;
  BeginDying();
}

void Session::Kill(v1::Death::Cause cause, const std::string& message) {
  if (dying()) return;
  facts_.KilledFor(cause, message);
  BeginDying();
}

void Session::BeginDying() {
  if (dying()) return;
  state_ = v1::Session::ENDING;
  CancelTimers();
  facts_.wall_us = (MonotonicNs() - created_ns_) / 1000;
  if (egress_) egress_->Stop();
  if (!sandbox_) {
    loop_.Post([this, alive = alive_] {
      if (*alive) Gone({});
    });
    return;
  }
  pool_->Dispose(std::move(sandbox_), [this, alive = alive_](const SandboxPool::Gone& gone) {
    if (*alive) Gone(gone);
  });
}

Error Session::EndedError() const {
  return {
      ErrorKind::kPrecondition, 0, "session " + id() + " has ended: " + death_.message(), {}, {}};
}

void Session::Gone(const SandboxPool::Gone& gone) {
  state_ = v1::Session::DEAD;
  facts_.supervisor_lost = !gone.init_exit && !facts_.runtime && generation_ != nullptr;
  facts_.Complete(gone.usage, settings_.limits, start_error_);
  death_ = DetermineDeath(facts_);
  if (facts_.killed_for == v1::Death::CAUSE_UNSPECIFIED && facts_.runtime &&
      death_.cause() != v1::Death::OUT_OF_MEMORY) {
    death_.set_message("its agent was ended from inside: " + death_.message());
  }
  log_->Append(v1::LogLine::SYSTEM, "ended: " + death_.message());
  log_->Close();
  if (const Started started = std::exchange(started_, nullptr))
    started(tl::unexpected(start_error_.value_or(EndedError())));
  if (execs_) execs_->EndAll(death_.message());
  if (code_) code_->FailAll(EndedError());
  if (agent_) agent_->FailAll(EndedError());
  for (const auto& told : std::exchange(on_gone_, {})) told();
  owner_.SessionGone(*this);
}

void Session::Extend(uint64_t ttl_ms) {
  const uint64_t until = MonotonicNs() + ttl_ms * 1'000'000;
  if (until <= expires_ns_) return;
  expires_ns_ = until;
  expires_unix_ms_ = NowUnixMs() + static_cast<int64_t>(ttl_ms);
  settings_.ttl_ms = static_cast<uint64_t>(expires_unix_ms_ - created_unix_ms_);
  ArmTtl();
}

void Session::ArmTtl() {
  if (ttl_timer_ != 0) loop_.CancelTimer(ttl_timer_);
  const uint64_t now = MonotonicNs();
  const std::chrono::nanoseconds left(expires_ns_ > now ? expires_ns_ - now : 0);
  ttl_timer_ = loop_.AddTimer(left, [this] {
    ttl_timer_ = 0;
    Kill(v1::Death::TIMEOUT, "its time of " + Seconds(settings_.ttl_ms) + " is over (ttl)");
  });
}

void Session::ArmIdle() {
  if (idle_timer_ != 0) loop_.CancelTimer(idle_timer_);
  idle_timer_ = 0;
  if (uses_ != 0 || settings_.idle_timeout_ms == 0 || state_ != v1::Session::RUNNING) return;
  idle_timer_ = loop_.AddTimer(std::chrono::milliseconds(settings_.idle_timeout_ms), [this] {
    idle_timer_ = 0;
    Kill(v1::Death::EVICTION,
         "nobody has used it for " + Seconds(settings_.idle_timeout_ms) + " (idle timeout)");
  });
}

std::shared_ptr<void> Session::Use() {
  ++uses_;
  idle_since_unix_ms_ = 0;
  ArmIdle();
  return {nullptr, [this, alive = alive_](void*) {
            if (!*alive || --uses_ != 0) return;
            idle_since_unix_ms_ = NowUnixMs();
            ArmIdle();
          }};
}

Result<> Session::CheckHere() const {
  if (away_ && !dying()) {
    return MakeError(ErrorKind::kPrecondition,
                     "session " + id() + " is being copied or put on disk", "try again later");
  }
  return CheckUsable();
}

Result<> Session::CheckUsable() const {
  if (state_ == v1::Session::RUNNING) return {};
  const char* is = state_ == v1::Session::PAUSED     ? "is paused"
                   : state_ == v1::Session::STARTING ? "is starting"
                                                     : "has ended";
  return MakeError(ErrorKind::kPrecondition, "session " + id() + " " + is,
                   state_ == v1::Session::PAUSED ? "spore sandbox resume " + id() : "");
}

void Session::Freeze(bool freeze, std::function<void(Result<>)> done) {
  const State wanted = freeze ? v1::Session::PAUSED : v1::Session::RUNNING;
  if (away_) return done(CheckHere());
  if (state_ == wanted) return done({});
  if (state_ != v1::Session::RUNNING && state_ != v1::Session::PAUSED) return done(CheckUsable());
  if (auto written = sandbox_->cgroup.Freeze(freeze); !written) return done(std::move(written));
  // From now on nothing is asked of it, or everything.
  state_ = wanted;
  ArmIdle();
  log_->Append(v1::LogLine::SYSTEM, freeze ? "paused" : "resumed");
  if (!freeze) return done({});
  AwaitFrozen(freeze, MonotonicNs() + kFreezeLimitNs, std::move(done));
}

void Session::AwaitFrozen(bool freeze, uint64_t until_ns, std::function<void(Result<>)> done) {
  if (dying() || state_ != v1::Session::PAUSED) return done(CheckUsable());
  if (sandbox_->cgroup.IsFrozen()) return done({});
  if (MonotonicNs() > until_ns) {
    return done(
        MakeError(ErrorKind::kPrecondition,
                  "session " + id() + " is being paused, but a process of it has not stopped yet"));
  }
  (void)loop_.AddTimer(kFreezeLook,
                       [this, alive = alive_, freeze, until_ns, done = std::move(done)] {
                         if (*alive) AwaitFrozen(freeze, until_ns, done);
                       });
}

v1::Session Session::Describe() const {
  v1::Session info;
  info.set_id(id());
  info.set_label(settings_.label);
  info.set_image(image_.manifest().name);
  info.set_runtime(image_.manifest().runtime);
  info.set_state(state_);
  info.set_owner_uid(settings_.owner);
  info.set_created_unix_ms(created_unix_ms_);
  info.set_expires_unix_ms(expires_unix_ms_);
  info.set_idle_timeout_ms(settings_.idle_timeout_ms);
  info.set_idle_since_unix_ms(idle_since_unix_ms_);
  *info.mutable_limits() = settings_.limits;
  info.set_uid(image_.uid_base() + sandbox_uid_);
  info.set_language(settings_.language);
  info.set_start_kind(start_kind_);
  info.set_network(DescribeNetwork(settings_.egress));
  if (egress_) egress_->Describe(info.mutable_egress());
  for (const std::string& path : cgroup_paths_) info.add_cgroups(path);
  for (const auto& [name, value] : settings_.environment)
    (*info.mutable_environment())[name] = value;
  info.set_branched_from(settings_.branch_of);
  info.set_restored_from(settings_.restored_from);
  if (execs_) {
    info.set_execs(execs_->started());
    info.set_execs_running(static_cast<uint32_t>(execs_->running()));
    info.set_code_runs(code_->runs());
  }
  if (state_ == v1::Session::DEAD) {
    *info.mutable_death() = death_;
    info.set_cpu_us(death_.usage().cpu_us());
    return info;
  }
  if (agent_pidfd_) info.set_pid(PidOf(agent_pidfd_));
  if (!sandbox_) return info;
  if (auto usage = sandbox_->cgroup.Usage()) {
    info.set_memory_bytes(usage->memory_bytes);
    info.set_cpu_us(usage->cpu_us);
    info.set_pids(usage->pids);
  }
  return info;
}

}  // namespace spore
