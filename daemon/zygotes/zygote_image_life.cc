// An image's zygotes from their start to their end.
#include <algorithm>
#include <utility>

#include "daemon/common/log.h"
#include "daemon/common/random_id.h"
#include "daemon/common/unix_time.h"
#include "daemon/zygotes/zygote_image.h"
#include "sandbox/sys/printable.h"

namespace spore {
namespace {

constexpr auto kStartLimit = std::chrono::seconds(30);
constexpr auto kFirstBackOff = std::chrono::milliseconds(100);
constexpr auto kLongestBackOff = std::chrono::seconds(10);
constexpr uint64_t kStableNs = 10'000'000'000;  // a zygote that lived so long was not broken
constexpr uint32_t kUidBlock = 65536;
// Room for any set of preloaded libraries; a bound all the same.
constexpr CgroupLimits kZygoteLimits{.memory_bytes = 8ull << 30, .cpu_millis = 0, .pids = 16384};

std::string PidText(const ZygoteGeneration& generation) {
  return std::to_string(generation.link->zygote_host_pid());
}

std::string DescribeFlat(const ZygoteGeneration& generation) {
  const auto kib = [](uint64_t bytes) { return std::to_string(bytes / 1024) + " KiB"; };
  std::string text =
      kib(generation.flat_bytes) + " of its memory flat, " + kib(generation.unmoved_bytes) + " not";
  if (!generation.flat_note.empty()) text += " (" + generation.flat_note + ")";
  return text;
}

}  // namespace

void ZygoteImage::CancelTimer(EventLoop::TimerId& timer) {
  if (timer != 0) loop_.CancelTimer(timer);
  timer = 0;
}

void ZygoteImage::Tell(v1::HostEvent::Kind kind, const std::string& set, const std::string& message,
                       const ZygoteGeneration* ready) const {
  if (options_.history == nullptr) return;
  Happening happening;
  happening.kind = kind;
  happening.image = manifest_.name;
  happening.set = set;
  happening.message = message;
  if (ready != nullptr) {
    happening.start_kind = ready->start_kind;
    happening.duration_us = (ready->ready_ns - ready->started_ns) / 1000;
  }
  options_.history->Add(happening);
}

void ZygoteImage::StartIfNeeded() {
  if (state_ == v1::Image::STOPPED && !stopping_) Start(Usual());
}

void ZygoteImage::Warm(Done done) {
  if (stopping_) return done(MakeError(ErrorKind::kUnavailable, "spored is stopping"));
  if (state_ == v1::Image::READY) return done({});
  awaiting_start_.push_back(std::move(done));
  if (current_ == nullptr) Start(Usual());
}

void ZygoteImage::Start(Origin origin) {
  CancelTimer(retry_timer_);
  state_ = v1::Image::STARTING;
  auto generation = NewGeneration(std::move(origin));
  if (!generation) return StartFailed(generation.error().Message());
  current_ = *generation;
}

Result<ZygoteGeneration*> ZygoteImage::NewGeneration(Origin origin) {
  static uint64_t last_serial = 0;
  auto made = std::make_unique<ZygoteGeneration>();
  ZygoteGeneration* generation = made.get();
  generation->serial = ++last_serial;
  generation->number = ++generations_;
  generation->started_unix_ms = NowUnixMs();
  generation->started_ns = MonotonicNs();
  if (!origin.restore) generation->start_kind = v1::START_KIND_COLD;
  const std::string cgroup =
      generation->number == 1 ? "zygote" : "zygote-" + std::to_string(generation->number);
  SPORE_ASSIGN(
      generation->link,
      StartLink(cgroup, origin.restore ? "restore" : "",
                {[this, generation](const wire::ZygoteReady& ready) { Ready(generation, ready); },
                 [this, generation](const std::string& why) { ZygoteGone(generation, why); },
                 [this, generation] { SupervisorGone(generation); },
                 [this, generation](const auto& done) { RestoreDone(generation, done); }}));
  generation->pool = std::make_unique<SandboxPool>(
      loop_, *generation->link, generation->link->zygote(), cgroups_, uids_, PoolOptions());
  generation->libraries = MakeLibraries(generation);
  generation->start_timer =
      loop_.AddTimer(kStartLimit, [this, generation] { StartTimedOut(generation); });
  generations_list_.push_back(std::move(made));
  if (origin.restore) OrderRestore(generation, origin);
  return generation;
}

Result<std::unique_ptr<ZygoteLink>> ZygoteImage::StartLink(const std::string& cgroup,
                                                           const char* checkpoint,
                                                           ZygoteLink::Handlers handlers) {
  if (!group_added_) {
    SPORE_TRY(cgroups_.AddGroup(manifest_.name, options_.uid_base));
    group_added_ = true;
  }
  SPORE_ASSIGN(Cgroup made, cgroups_.Create(manifest_.name, cgroup, kZygoteLimits));
  return ZygoteLink::Start(
      loop_, manifest_,
      {options_.program, options_.host_directory, options_.uid_base, kUidBlock, checkpoint},
      std::move(made), std::move(handlers));
}

void ZygoteImage::Ready(ZygoteGeneration* generation, const wire::ZygoteReady& ready) {
  if (generation->state != v1::Zygote::STARTING) return;
  generation->ready_ns = MonotonicNs();
  generation->preload_us = ready.preload_us;
  generation->flat_bytes = ready.flat_bytes;
  generation->unmoved_bytes = ready.unmoved_bytes;
  generation->flat_note = Printable(ready.flat_note);
  runtime_version_ = ready.runtime_version;
  Log(LogLevel::kInfo,
      "image " + manifest_.name + ": ready, " + runtime_version_ + ", preload " +
          std::to_string(ready.preload_us / 1000) + " ms, " + DescribeFlat(*generation),
      {{"SPORE_IMAGE", manifest_.name}});
  generation->libraries->StartStem();
  if (generation == current_) {
    Tell(v1::HostEvent::ZYGOTE_READY, "", "process " + PidText(*generation), generation);
    return Serve();
  }
  generation->pool->FillThen([this, generation] {
    if (generation != next_) return;
    CancelTimer(generation->start_timer);
    GrowAlike(generation, [this, generation] {
      if (generation != next_) return;
      Log(LogLevel::kInfo,
          "image " + manifest_.name + ": process " + PidText(*generation) +
              " is its zygote from now on",
          {{"SPORE_IMAGE", manifest_.name}});
      Tell(v1::HostEvent::ZYGOTE_ROTATED, "",
           "process " + PidText(*generation) + " after process " + PidText(*current_), generation);
      Retire(*current_);
      TakeOver();
    });
  });
}

// The current generation is ready.
void ZygoteImage::Serve() {
  CancelTimer(current_->start_timer);
  current_->state = v1::Zygote::READY;
  state_ = v1::Image::READY;
  reason_.clear();
  rotation_error_.clear();
  // A restored one's address-space layout is as old as its checkpoint.
  const uint64_t now = MonotonicNs();
  schedule_.Began(now - std::min(now, current_->layout_age_ns), RandomNumber());
  CheckpointIfSlow(*current_);
  ArmRotation();
  current_->pool->Fill();
  SetsServe();
  Settle(awaiting_start_, {});
  ServeWaiters();
}

void ZygoteImage::Settle(std::vector<Done>& list, const Result<>& result) {
  for (const Done& done : std::exchange(list, {})) done(result);
}

void ZygoteImage::ZygoteGone(ZygoteGeneration* generation, const std::string& reason) {
  if (generation->state == v1::Zygote::DRAINING) return;
  Retire(*generation);
  if (generation->start_kind == v1::START_KIND_RESTORE && generation->ready_ns == 0)
    options_.checkpoints->Distrust(generation->checkpoint, "restored from it, " + reason);
  if (generation == current_) return CurrentGone(reason);
  next_ = nullptr;
  RotationFailed(reason);
}

void ZygoteImage::CurrentGone(const std::string& reason) {
  const bool was_stable = MonotonicNs() - current_->ready_ns > kStableNs;
  Unset();
  if (state_ != v1::Image::READY) return StartFailed(reason);
  if (was_stable) back_off_ = {};
  Log(LogLevel::kError, "image " + manifest_.name + ": its zygote is gone: " + reason,
      {{"SPORE_IMAGE", manifest_.name}});
  Tell(v1::HostEvent::ZYGOTE_FAILED, "", reason);
  state_ = v1::Image::STARTING;  // it worked: those who wait go on waiting
  if (next_ != nullptr) return TakeOver();
  RetryLater();
}

// No generation serves.
void ZygoteImage::Unset() {
  current_ = nullptr;
  schedule_.Ended();
  ArmRotation();
}

void ZygoteImage::StartFailed(const std::string& reason) {
  // It is tried again for ever; said once.
  if (reason != reason_) {
    Log(LogLevel::kError, "image " + manifest_.name + ": cannot start its zygote: " + reason,
        {{"SPORE_IMAGE", manifest_.name}});
    Tell(v1::HostEvent::ZYGOTE_FAILED, "", "it cannot be started: " + reason);
  }
  state_ = v1::Image::FAILED;
  reason_ = reason;
  RetryLater();
  Settle(awaiting_start_, tl::unexpected(FailedError()));
  RefuseWaiters(FailedError());
}

void ZygoteImage::StartTimedOut(ZygoteGeneration* generation) {
  generation->start_timer = 0;
  ZygoteGone(generation, "it was not ready after 30 s");
  generation->link->Close();
}

void ZygoteImage::RetryLater() {
  if (stopping_ || retry_timer_ != 0) return;
  back_off_ = back_off_.count() == 0
                  ? kFirstBackOff
                  : std::min<std::chrono::milliseconds>(back_off_ * 2, kLongestBackOff);
  retry_timer_ = loop_.AddTimer(back_off_, [this] {
    retry_timer_ = 0;
    Start(Usual());
  });
}

void ZygoteImage::Evict(Done done) {
  const std::string image = "image " + manifest_.name;
  if (stopping_) return done(MakeError(ErrorKind::kUnavailable, "spored is stopping"));
  if (current_ == nullptr)
    return done(MakeError(ErrorKind::kPrecondition, image + " has no zygote to evict"));
  if (const size_t count = current_->in_use(); count > 0) {
    return done(MakeError(
        ErrorKind::kPrecondition,
        image + ": " + std::to_string(count) +
            (count == 1 ? " instance of its zygote is live" : " instances of its zygote are live"),
        "end them with `spore kill`, or use --force, which kills all instances of the image"));
  }
  if (!waiters_.empty()) {
    return done(
        MakeError(ErrorKind::kPrecondition,
                  image + ": " + std::to_string(waiters_.size()) + " requests wait for its zygote",
                  "try again later, or use --force, which refuses them"));
  }
  auto left = std::make_shared<int>(0);
  for (ZygoteGeneration* generation : {current_, next_}) {
    if (generation == nullptr) continue;
    ++*left;
    generation->when_gone.emplace_back([left, done] {
      if (--*left == 0) done({});
    });
    Retire(*generation);
  }
  Log(LogLevel::kInfo, image + ": its zygote is evicted", {{"SPORE_IMAGE", manifest_.name}});
  Tell(v1::HostEvent::ZYGOTE_EVICTED, "", "");
  next_ = nullptr;
  state_ = v1::Image::STOPPED;
  Unset();
  const Error evicted{ErrorKind::kPrecondition, 0, image + ": its zygote was evicted", {}, {}};
  Settle(awaiting_start_, tl::unexpected(evicted));
  Settle(awaiting_rotation_, tl::unexpected(evicted));
}

// Nobody is forked from it any more, nor from the zygotes of its sets. Its supervisor ends with the
// last of its sandboxes.
void ZygoteImage::Retire(ZygoteGeneration& generation) {
  generation.state = v1::Zygote::DRAINING;
  CancelTimer(generation.start_timer);
  auto left = std::make_shared<int>(generation.egress_pool ? 3 : 2);
  const auto empty = [&generation, left] {
    if (--*left == 0) generation.link->Close();
  };
  generation.libraries->Retire(empty);
  generation.pool->Retire(empty);
  if (generation.egress_pool) generation.egress_pool->Retire(empty);
  generation.link->EndZygote();
}

void ZygoteImage::SupervisorGone(ZygoteGeneration* generation) {
  // The caller is the generation's own link: let it return first.
  loop_.Post([this, generation, alive = alive_] {
    if (!*alive) return;
    const auto when_gone = std::move(generation->when_gone);
    generations_list_.remove_if([&](const auto& held) { return held.get() == generation; });
    for (const auto& gone : when_gone) gone();
    StoppedIfEmpty();
  });
}

void ZygoteImage::StoppedIfEmpty() {
  if (!stopping_ || !generations_list_.empty() || dump_ != nullptr || !stopped_) return;
  auto stopped = std::move(stopped_);
  stopped();
}

void ZygoteImage::Leave(std::function<void()> done) {
  stopping_ = true;
  state_ = v1::Image::STOPPED;
  next_ = nullptr;
  Unset();
  CancelTimer(retry_timer_);
  CancelTimer(dump_timer_);
  const Error stopping{ErrorKind::kUnavailable, 0, "spored is stopping", {}, {}};
  Settle(awaiting_start_, tl::unexpected(stopping));
  Settle(awaiting_rotation_, tl::unexpected(stopping));
  RefuseWaiters(stopping);
  EndDump(tl::unexpected(stopping));
  if (generations_list_.empty() && dump_ == nullptr) return done();
  stopped_ = std::move(done);
  for (auto& generation : generations_list_) {
    if (generation->state != v1::Zygote::DRAINING) Retire(*generation);
  }
}

void ZygoteImage::ShutDown(std::function<void()> done) {
  Leave(std::move(done));
  for (auto& generation : generations_list_) generation->link->Close();
}

}  // namespace spore
