#include "daemon/instances/instance.h"

#include <poll.h>
#include <signal.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>

#include "daemon/common/log.h"
#include "daemon/common/pidfd.h"
#include "daemon/common/unix_time.h"
#include "daemon/functions/function_facts.h"

namespace spore {
namespace {

constexpr size_t kTailBytes = 4096;
// How long a runtime may take between closing its channel and being reported as ended, or between
// its end and the end of what it had still written.
constexpr auto kEndGrace = std::chrono::milliseconds(200);
// The kernel may be long in ending a process; nobody waits for it for ever.
constexpr auto kDyingLimit = std::chrono::seconds(5);

std::string Milliseconds(uint64_t us) {
  char text[32];
  snprintf(text, sizeof text, "%.2f", static_cast<double>(us) / 1000.0);
  return text;
}

}  // namespace

Instance::Instance(const Environment& environment, SlotId slot, std::string id,
                   const Work& first_work)
    : environment_(environment),
      slot_(slot),
      id_(std::move(id)),
      function_(first_work.version ? first_work.version->function.name() : ""),
      version_(first_work.version),
      image_name_(first_work.image),
      limits_(first_work.limits),
      isolation_(first_work.isolation),
      owner_uid_(first_work.owner),
      started_unix_ms_(NowUnixMs()),
      watch_(first_work.watch),
      measure_(first_work.measure),
      runs_program_(first_work.runs_program),
      created_ns_(MonotonicNs()),
      parser_(limits_.response_bytes()),
      output_(environment.loop, [this](auto stream, auto line) { LogLine(stream, line); }),
      alive_(std::make_shared<bool>(true)) {}

Instance::~Instance() {
  *alive_ = false;
  CancelTimers();
}

void Instance::CancelTimers() {
  for (EventLoop::TimerId* timer : {&deadline_timer_, &idle_timer_, &closed_timer_}) {
    if (*timer != 0) environment_.loop.CancelTimer(*timer);
    *timer = 0;
  }
}

void Instance::OnData(std::span<const std::byte> data) {
  if (dying()) return;
  heard_ = true;
  // A frame can end the instance, and with its end this object.
  const std::shared_ptr<bool> alive = alive_;
  const auto status = parser_.Feed(data, [this](Frame& frame) { return OnFrame(frame); });
  if (!*alive || dying()) return;
  if (status == FrameParser::Status::kRubbish) return Rubbish(parser_.problem());
  if (status == FrameParser::Status::kResponseTooLarge) {
    Kill(v1::Death::RESPONSE_TOO_LARGE,
         "Response payload size exceeded maximum allowed payload size (" +
             std::to_string(limits_.response_bytes()) + " bytes).");
  }
}

// False: feed no more.
bool Instance::OnFrame(Frame& frame) {
  const std::shared_ptr<bool> alive = alive_;
  if (!confined_ && frame.type != wire::FrameType::kConfined) {
    Rubbish("a frame before its confinement was reported");
    return false;
  }
  // Trusted code says what it has compiled, or that it could not; then the tenant's code runs.
  if (awaits_compiled_ && confined_ && frame.type != wire::FrameType::kCompiled &&
      frame.type != wire::FrameType::kFatal) {
    Rubbish("a frame before it had said what it has compiled");
    return false;
  }
  switch (frame.type) {
    case wire::FrameType::kConfined:
      OnConfined(frame);
      break;
    case wire::FrameType::kCompiled:
      OnCompiled(frame);
      break;
    case wire::FrameType::kLoaded:
      OnLoaded(frame);
      break;
    case wire::FrameType::kResponse:
      OnResponse(frame);
      break;
    case wire::FrameType::kFailed:
    case wire::FrameType::kFatal:
      OnFailed(frame);
      break;
    default:
      Rubbish("a frame of unknown type");
  }
  return *alive && !dying();
}

void Instance::OnConfined(const Frame& frame) {
  auto confined = ParseConfined(frame.body);
  if (confined_ || !confined) return Rubbish("a second report of its confinement");
  confined_ = true;
  if (work_) work_->trace.AddWire(StepProcess::kInstance, confined->steps);
  if (!confined->failure.failed()) return;
  // Only a thread that cannot be had says EAGAIN: the runtime's own are made under the limits.
  const bool too_few = confined->failure.errno_value == EAGAIN;
  start_error_ = Error{too_few ? ErrorKind::kPrecondition : ErrorKind::kInternal,
                       confined->failure.errno_value,
                       confined->failure.operation,
                       {},
                       too_few ? "the limit pids leaves no room for the threads of the image" : ""}
                     .Wrap("confine an instance");
  BeginDying();
}

void Instance::OnCompiled(Frame& frame) {
  if (!awaits_compiled_) return Rubbish("compiled code that nobody had asked for");
  awaits_compiled_ = false;
  if (frame.body.empty()) return;
  environment_.code_cache.Keep(generation_->serial, version_, CodeFrame(frame.body));
}

void Instance::OnLoaded(const Frame& frame) {
  auto times = ParseLoaded(frame.body);
  if (loaded_ || !times) return Rubbish("a report of its loading that cannot be");
  loaded_ = true;
  // Its word, and told with its first answer: within what can be.
  loaded_ns_ = std::clamp(times->ended_ns, work_sent_ns_, MonotonicNs());
  const uint64_t began_ns = std::clamp(times->began_ns, work_sent_ns_, loaded_ns_);
  if (work_) work_->trace.AddOf(StepProcess::kInstance, StepName::kLoad, began_ns, loaded_ns_);
  load_us_ = (loaded_ns_ - began_ns) / 1000;
  if (times->imported && !watch_.empty()) KeepImports(*times->imported);
  if (std::exchange(preparing_, false)) return BeIdle();
  // A script has no more to say here; what it writes all the same stays unread.
  if (!version_) channel_->PauseReading();
}

// Its word again: it chooses among the image's sets, and what it says to have taken cannot be more
// than has passed.
void Instance::KeepImports(const std::vector<std::string>& imported) {
  environment_.import_hints.Keep(version_, {BestSet(*manifest_, imported), load_us_});
}

void Instance::OnResponse(Frame& frame) {
  if (!version_ || !work_ || !loaded_ || frame.id != invocations_) {
    return Rubbish("a response that nobody had asked for");
  }
  WorkResult result = NewResult();
  result.payload = std::move(frame.body);
  Answer(std::move(result));
  AfterAnswer();
}

void Instance::OnFailed(const Frame& frame) {
  awaits_compiled_ = false;
  const bool fatal = frame.type == wire::FrameType::kFatal;
  const bool expected = loaded_ ? frame.id == invocations_ : fatal;
  if (!version_ || !(work_ || preparing_) || !expected)
    return Rubbish("an error that nobody had asked for");
  auto error = ParseFailed(frame.body);
  if (!error) return Rubbish("an error report that is " + error.error().Message());
  if (preparing_) {
    LogLine(v1::LogLine::SYSTEM,
            "could not be loaded ahead: " + error->type() + ": " + error->message());
    preparing_ = false;
    return AwaitEnd();  // it exits by itself
  }
  WorkResult result = NewResult();
  result.error = std::move(*error);
  Answer(std::move(result));
  if (fatal) return AwaitEnd();  // it exits by itself
  AfterAnswer();
}

void Instance::Rubbish(const std::string& what) {
  Kill(v1::Death::PROTOCOL, "it wrote rubbish to its request channel: " + what);
}

void Instance::OnTimeout() {
  deadline_timer_ = 0;
  char text[64];
  snprintf(text, sizeof text, "Task timed out after %.2f seconds",
           static_cast<double>(limits_.timeout_ms()) / 1000.0);
  Kill(v1::Death::TIMEOUT, text);
}

void Instance::OnRuntimeEnded(const ZygoteLink::Exit& exited) {
  facts_.runtime = exited;
  if (dying()) return;
  // What it wrote last may still be on its way.
  if (channel_ && (work_ || preparing_) && version_) return AwaitEnd();
  BeginDying();
}

// Its whole pid namespace has ended, so whatever it had written is here: the channel's end tells.
void Instance::OnInitEnded() {
  // What has been answered may still be on its way; but of a supervisor that is gone, too, the pool
  // is about to go.
  const bool supervised = sandbox_ && sandbox_->init_exit.has_value();
  if (channel_ && work_ && version_ && supervised) return AwaitEnd();
  BeginDying();
}

// Of an idle instance: whether its process is gone or its channel closed, which may be known here
// before the loop comes to tell. pidfd_open(2): a pidfd of an ended process polls readable.
bool Instance::HasEnded() const {
  pollfd ends[] = {{runtime_pidfd_.get(), POLLIN, 0}, {channel_->fd(), POLLRDHUP, 0}};
  return poll(ends, std::size(ends), 0) > 0;
}

// The request was not read to its end, so no handler has begun with it.
void Instance::GiveBack() {
  Owner& owner = environment_.owner;
  std::unique_ptr<Work> work = std::move(work_);
  LogLine(v1::LogLine::SYSTEM, "RequestId: " + work->request_id +
                                   " goes to another instance: this one ended before it read it");
  BeginDying();
  owner.WorkUnread(std::move(work));
}

void Instance::OnChannelClosed(int errno_value) {
  channel_.reset();
  if (dying()) return;
  // A UNIX socket whose owner ends with bytes unread gives its peer ECONNRESET instead of an end of
  // file (unix_release_sock in the kernel's net/unix/af_unix.c); EPIPE: they could not be written.
  const bool unread = errno_value == ECONNRESET || errno_value == EPIPE;
  if (unread && work_ && reused_ && !heard_) return GiveBack();
  // Idle without a channel it could take no more work.
  if (facts_.runtime || state_ == State::kIdle) return BeginDying();
  // A script may close it. For anybody else this is the end, whose cause is about to be reported.
  if (version_) AwaitEnd();
}

void Instance::AwaitEnd() {
  if (closed_timer_ != 0) return;
  closed_timer_ = environment_.loop.AddTimer(kEndGrace, [this] {
    closed_timer_ = 0;
    if (facts_.runtime || !work_) return BeginDying();
    Kill(v1::Death::PROTOCOL, "it closed its request channel");
  });
}

v1::StartKind Instance::WorkStartedAs() const {
  return invocations_ > 1 ? v1::START_KIND_WARM : StartedAs();
}

v1::StartKind Instance::StartedAs() const {
  return runs_program_ ? v1::START_KIND_COLD : zygote_start_;
}

WorkResult Instance::NewResult() const {
  WorkResult result;
  result.start_kind = WorkStartedAs();
  result.loaded_ahead = reused_ && invocations_ == 1;
  result.start_reason = work_->start_reason;
  result.instance_id = id_;
  result.duration_us = WallUs();
  return result;
}

uint64_t Instance::WallUs() const {
  return work_sent_ns_ == 0 ? 0 : (MonotonicNs() - work_sent_ns_) / 1000;
}

// Answers the work in progress. The log's last lines come after the answer, unless it wants them.
void Instance::Answer(WorkResult result) {
  if (deadline_timer_ != 0) environment_.loop.CancelTimer(deadline_timer_);
  deadline_timer_ = 0;
  const uint64_t begin = std::max(work_sent_ns_, loaded_ns_);
  work_->trace.AddOf(StepProcess::kInstance, StepName::kHandler, begin, MonotonicNs());
  const auto peak = [&] {
    return sandbox_ ? sandbox_->cgroup.MemoryPeak() : facts_.usage.memory_peak_bytes;
  };
  const std::string error_line =
      result.error ? result.error->type() + ": " + result.error->message() : std::string();
  if (work_->want_tail) {
    EndInvocationLog(error_line, peak());
    result.log_tail = tail_.size() <= kTailBytes ? tail_ : tail_.substr(tail_.size() - kTailBytes);
  }
  work_->done(*work_, std::move(result));
  if (version_ && !work_->want_tail) EndInvocationLog(error_line, peak());
  work_.reset();
}

void Instance::AfterAnswer() {
  if (dying()) return;
  if (isolation_ != v1::ISOLATION_INSTANCE) {
    return Kill(v1::Death::EVICTION, "its one invocation is done");
  }
  BeIdle();
}

void Instance::BeIdle() {
  if (deadline_timer_ != 0) environment_.loop.CancelTimer(deadline_timer_);
  deadline_timer_ = 0;
  state_ = State::kIdle;
  idle_since_ns_ = MonotonicNs();
  loaded_ns_ = 0;
  ArmIdle();
  environment_.owner.InstanceIdle(*this);
}

void Instance::ArmIdle() {
  idle_timer_ = environment_.loop.AddTimer(std::chrono::milliseconds(limits_.idle_ms()), [this] {
    idle_timer_ = 0;
    if (!environment_.owner.MayEndIdle(*this)) return ArmIdle();
    Kill(v1::Death::EVICTION, "idle for " + std::to_string(limits_.idle_ms()) + " ms");
  });
}

void Instance::EndInvocationLog(const std::string& error_line, uint64_t memory_peak_bytes) {
  if (!version_ || start_error_) return;
  output_.Finish();
  if (!error_line.empty()) LogLine(v1::LogLine::SYSTEM, error_line);
  LogLine(v1::LogLine::SYSTEM, "END RequestId: " + work_->request_id);
  const uint64_t peak_mb = (memory_peak_bytes + (1u << 20) - 1) >> 20;
  LogLine(v1::LogLine::SYSTEM,
          "REPORT RequestId: " + work_->request_id + "\tDuration: " + Milliseconds(WallUs()) +
              " ms\tMemory Size: " + std::to_string(limits_.memory_bytes() >> 20) +
              " MB\tMax Memory Used: " + std::to_string(peak_mb) +
              " MB\tStart: " + StartKindName(WorkStartedAs()));
}

void Instance::LogLine(v1::LogLine::Stream stream, std::string_view line) {
  if (!log_closed_) environment_.logs.Append(function_, id_, stream, line);
  if (!work_ || !work_->want_tail) return;
  tail_.append(line);
  tail_ += '\n';
  if (tail_.size() > 2 * kTailBytes) tail_.erase(0, tail_.size() - kTailBytes);
}

void Instance::Kill(v1::Death::Cause cause, const std::string& message) {
  if (dying()) return;
  facts_.KilledFor(cause, message);
  BeginDying();
}

void Instance::BeginDying() {
  if (dying()) return;
  state_ = State::kDying;
  CancelTimers();
  facts_.wall_us = WallUs();
  environment_.owner.InstanceDying(*this);
  if (!sandbox_) {
    environment_.loop.Post([this, alive = alive_] {
      if (*alive) Gone({});
    });
    return;
  }
  deadline_timer_ = environment_.loop.AddTimer(kDyingLimit, [this] {
    deadline_timer_ = 0;
    if (work_) AnswerDeath(DetermineDeath(facts_));
  });
  pool_->Dispose(std::move(sandbox_), [this, alive = alive_](const SandboxPool::Gone& gone) {
    if (*alive) Gone(gone);
  });
}

void Instance::Gone(const SandboxPool::Gone& gone) {
  state_ = State::kDead;
  CancelTimers();
  facts_.supervisor_lost = !gone.init_exit && !facts_.runtime && generation_ != nullptr;
  facts_.Complete(gone.usage, limits_, start_error_);
  death_ = DetermineDeath(facts_);
  if (version_) output_.Finish();
  if (preparing_) LogLine(v1::LogLine::SYSTEM, "could not be loaded ahead: " + death_.message());
  if (work_) AnswerDeath(death_);
  environment_.owner.InstanceGone(*this);
}

void Instance::AnswerDeath(const v1::Death& death) {
  WorkResult result = NewResult();
  if (start_error_) {
    result.refused = *start_error_;
  } else if (version_) {
    result.error = ErrorOfDeath(death, work_->request_id);
  } else {
    result.death = death;
  }
  Answer(std::move(result));
}

MemoryHolder Instance::DescribeMemory() const {
  MemoryHolder holder;
  if (auto usage = sandbox_->cgroup.Usage()) holder.bytes = usage->memory_bytes;
  holder.idle_ms = (MonotonicNs() - idle_since_ns_) / 1'000'000;
  holder.rebuild_us = load_us_;
  return holder;
}

v1::Instance Instance::Describe() const {
  v1::Instance info;
  info.set_id(id_);
  info.set_function(function_);
  if (version_) {
    info.set_function_version(version_->function.version());
    info.set_qualifier(VersionLabel(version_->function));
  }
  info.set_image(image_name_);
  info.set_start_kind(StartedAs());
  info.set_uid(host_uid_base_ + sandbox_uid_);
  info.set_started_unix_ms(started_unix_ms_);
  info.set_invocations(invocations_);
  info.set_owner_uid(owner_uid_);
  *info.mutable_limits() = limits_;
  for (const std::string& path : cgroup_paths_) info.add_cgroups(path);
  switch (state_) {
    case State::kStarting:
      info.set_state(v1::Instance::STARTING);
      break;
    case State::kIdle:
      info.set_state(v1::Instance::IDLE);
      break;
    case State::kBusy:
    case State::kDying:  // its processes and cgroup are still there
      info.set_state(v1::Instance::BUSY);
      break;
    case State::kDead:
      info.set_state(v1::Instance::DEAD);
      *info.mutable_death() = death_;
      info.set_cpu_us(death_.usage().cpu_us());
      return info;
  }
  info.set_pid(PidOf(runtime_pidfd_));
  if (!sandbox_) return info;
  if (auto usage = sandbox_->cgroup.Usage()) {
    info.set_memory_bytes(usage->memory_bytes);
    info.set_cpu_us(usage->cpu_us);
    info.set_pids(usage->pids);
  }
  return info;
}

}  // namespace spore
