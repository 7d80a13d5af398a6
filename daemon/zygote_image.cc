#include "daemon/zygote_image.h"

#include <algorithm>

#include "daemon/log.h"

namespace spore {
namespace {

constexpr auto kStartLimit = std::chrono::seconds(30);
constexpr auto kFirstBackOff = std::chrono::milliseconds(100);
constexpr auto kLongestBackOff = std::chrono::seconds(10);
constexpr uint64_t kStableNs = 10'000'000'000;  // a zygote that lived so long was not broken
constexpr auto kDrainCheck = std::chrono::milliseconds(200);
constexpr uint32_t kUidBlock = 65536;
// Uids of sandboxes: above those of Debian's system users, below 65534 (nobody).
constexpr uint32_t kFirstUid = 1000;
constexpr uint32_t kLastUid = 65000;
// Room for any set of preloaded libraries; a bound all the same.
constexpr CgroupLimits kZygoteLimits{.memory_bytes = 8ull << 30, .cpu_millis = 0, .pids = 16384};

}  // namespace

ZygoteImage::ZygoteImage(EventLoop& loop, CgroupTree& cgroups, ImageManifest manifest,
                         Options options)
    : loop_(loop),
      cgroups_(cgroups),
      manifest_(std::move(manifest)),
      options_(std::move(options)),
      uids_(kFirstUid, kLastUid),
      alive_(std::make_shared<bool>(true)) {}

ZygoteImage::~ZygoteImage() {
  *alive_ = false;
  for (const EventLoop::TimerId timer : {retry_timer_, start_timer_, drain_timer_}) {
    if (timer != 0) loop_.CancelTimer(timer);
  }
  for (auto& [id, waiter] : waiters_) loop_.CancelTimer(waiter.timer);
  for (auto& generation : generations_list_) generation->link.reset();
  generations_list_.clear();
  if (group_added_) (void)cgroups_.RemoveGroup(manifest_.name);
}

void ZygoteImage::StartIfNeeded() {
  if (state_ == v1::Image::STOPPED && !stopping_) StartGeneration();
}

void ZygoteImage::StartGeneration() {
  state_ = v1::Image::STARTING;
  static uint64_t last_serial = 0;
  auto generation = std::make_unique<ZygoteGeneration>();
  generation->serial = ++last_serial;
  auto link = StartLink(generation.get());
  if (!link) return StartFailed(link.error().Message());
  generation->link = std::move(*link);
  generation->pool = std::make_unique<SandboxPool>(
      loop_, *generation->link, cgroups_, uids_,
      SandboxPool::Options{manifest_.name, options_.ready_sandboxes, options_.sandbox});
  current_ = generation.get();
  generations_list_.push_back(std::move(generation));
  start_timer_ = loop_.AddTimer(kStartLimit, [this, started = current_] {
    start_timer_ = 0;
    StartTimedOut(started);
  });
}

Result<std::unique_ptr<ZygoteLink>> ZygoteImage::StartLink(ZygoteGeneration* generation) {
  if (!group_added_) {
    SPORE_TRY(cgroups_.AddGroup(manifest_.name, options_.uid_base));
    group_added_ = true;
  }
  ++generations_;
  const std::string name = generations_ == 1 ? "zygote" : "zygote-" + std::to_string(generations_);
  SPORE_ASSIGN(Cgroup cgroup, cgroups_.Create(manifest_.name, name, kZygoteLimits));
  return ZygoteLink::Start(
      loop_, manifest_, {options_.program, options_.host_directory, options_.uid_base, kUidBlock},
      std::move(cgroup),
      {[this, generation](const wire::ZygoteReady& ready) { Ready(generation, ready); },
       [this, generation](const std::string& reason) { ZygoteGone(generation, reason); },
       [this, generation] { SupervisorGone(generation); }});
}

void ZygoteImage::Ready(ZygoteGeneration* generation, const wire::ZygoteReady& ready) {
  if (generation != current_ || stopping_) return;
  if (start_timer_ != 0) loop_.CancelTimer(start_timer_);
  start_timer_ = 0;
  state_ = v1::Image::READY;
  reason_.clear();
  runtime_version_ = ready.runtime_version;
  ready_since_ns_ = MonotonicNs();
  Log(LogLevel::kInfo, "image " + manifest_.name + ": ready, " + runtime_version_ + ", preload " +
                           std::to_string(ready.preload_us / 1000) + " ms");
  generation->pool->Fill();
  std::vector<uint64_t> requests;
  for (const auto& [request, waiter] : waiters_) requests.push_back(request);
  for (const uint64_t request : requests) TakeFromPool(request);
}

void ZygoteImage::ZygoteGone(ZygoteGeneration* generation, const std::string& reason) {
  if (generation->pool) generation->pool->Retire();
  if (generation != current_ || stopping_) return CloseDrained();
  current_ = nullptr;
  if (start_timer_ != 0) loop_.CancelTimer(start_timer_);
  start_timer_ = 0;
  if (state_ != v1::Image::READY) {
    CloseDrained();
    return StartFailed(reason);
  }
  Log(LogLevel::kError, "image " + manifest_.name + ": its zygote is gone: " + reason);
  state_ = v1::Image::STARTING;  // it worked: those who wait go on waiting
  if (MonotonicNs() - ready_since_ns_ > kStableNs) back_off_ = {};
  RetryLater();
  CloseDrained();
}

void ZygoteImage::StartFailed(const std::string& reason) {
  // It is tried again for ever; said once.
  if (reason != reason_)
    Log(LogLevel::kError, "image " + manifest_.name + ": cannot start its zygote: " + reason);
  state_ = v1::Image::FAILED;
  reason_ = reason;
  RetryLater();
  auto waiters = std::move(waiters_);
  waiters_.clear();
  for (auto& [request, waiter] : waiters) {
    loop_.CancelTimer(waiter.timer);
    waiter.taken(tl::unexpected(FailedError()));
  }
}

void ZygoteImage::StartTimedOut(ZygoteGeneration* generation) {
  if (generation != current_) return;
  current_ = nullptr;
  generation->pool->Retire();
  StartFailed("it was not ready after 30 s");
  generation->link->Close();
}

void ZygoteImage::RetryLater() {
  if (stopping_ || retry_timer_ != 0) return;
  back_off_ = back_off_.count() == 0
                  ? kFirstBackOff
                  : std::min<std::chrono::milliseconds>(back_off_ * 2, kLongestBackOff);
  retry_timer_ = loop_.AddTimer(back_off_, [this] {
    retry_timer_ = 0;
    StartGeneration();
  });
}

// Ends supervisors that have neither a zygote nor a sandbox any more.
void ZygoteImage::CloseDrained() {
  if (drain_timer_ != 0) return;
  drain_timer_ = loop_.AddTimer(kDrainCheck, [this] {
    drain_timer_ = 0;
    bool more = false;
    for (auto& generation : generations_list_) {
      if (generation.get() == current_ || !generation->link->supervisor_alive()) continue;
      if (generation->pool->live() == 0) {
        generation->link->Close();
      } else {
        more = true;
      }
    }
    if (more) CloseDrained();
  });
}

void ZygoteImage::SupervisorGone(ZygoteGeneration* generation) {
  // The caller is the generation's own link: let it return first.
  loop_.Post([this, generation, alive = alive_] {
    if (!*alive) return;
    generations_list_.remove_if([&](const auto& held) { return held.get() == generation; });
    if (stopping_ && generations_list_.empty() && stopped_) {
      auto stopped = std::move(stopped_);
      stopped();
    }
  });
}

uint64_t ZygoteImage::Take(Taken taken) {
  const uint64_t request = next_request_++;
  if (stopping_) {
    taken(MakeError(ErrorKind::kUnavailable, "spored is stopping"));
    return request;
  }
  if (state_ == v1::Image::FAILED) {
    taken(tl::unexpected(FailedError()));
    return request;
  }
  if (state_ == v1::Image::READY && current_->pool->ready() > 0) {
    ZygoteGeneration* generation = current_;
    generation->pool->Take([&](Result<std::unique_ptr<Sandbox>> sandbox) {
      taken(Lease{generation, std::move(*sandbox)});
    });
    return request;
  }
  StartIfNeeded();
  if (state_ == v1::Image::FAILED) {
    taken(tl::unexpected(FailedError()));
    return request;
  }
  Waiter& waiter = waiters_[request];
  waiter.taken = std::move(taken);
  waiter.timer = loop_.AddTimer(kStartLimit, [this, request] {
    Answer(request, MakeError(ErrorKind::kOverloaded,
                              "no sandbox of image " + manifest_.name + " was ready within 30 s"));
  });
  if (state_ == v1::Image::READY) TakeFromPool(request);
  return request;
}

void ZygoteImage::TakeFromPool(uint64_t request) {
  Waiter& waiter = waiters_.at(request);
  ZygoteGeneration* generation = current_;
  waiter.generation = generation;
  const uint64_t pool_request = generation->pool->Take(
      [this, request, generation, alive = alive_](Result<std::unique_ptr<Sandbox>> sandbox) {
        if (!*alive) return;
        const auto found = waiters_.find(request);
        if (found == waiters_.end()) return;
        found->second.generation = nullptr;
        if (sandbox) return Answer(request, Lease{generation, std::move(*sandbox)});
        // The zygote went; the next generation serves those who wait.
        if (sandbox.error().kind == ErrorKind::kUnavailable && !stopping_) return;
        Answer(request, tl::unexpected(std::move(sandbox).error()));
      });
  const auto found = waiters_.find(request);
  if (found != waiters_.end()) found->second.pool_request = pool_request;
}

void ZygoteImage::Answer(uint64_t request, Result<Lease> lease) {
  auto waiter = waiters_.extract(request);
  if (waiter.empty()) return;
  loop_.CancelTimer(waiter.mapped().timer);
  if (!lease && waiter.mapped().generation != nullptr) {
    waiter.mapped().generation->pool->Cancel(waiter.mapped().pool_request);
  }
  waiter.mapped().taken(std::move(lease));
}

void ZygoteImage::CancelTake(uint64_t request) {
  auto waiter = waiters_.extract(request);
  if (waiter.empty()) return;
  loop_.CancelTimer(waiter.mapped().timer);
  if (waiter.mapped().generation != nullptr) {
    waiter.mapped().generation->pool->Cancel(waiter.mapped().pool_request);
  }
}

void ZygoteImage::ShutDown(std::function<void()> done) {
  stopping_ = true;
  state_ = v1::Image::STOPPED;
  if (retry_timer_ != 0) loop_.CancelTimer(retry_timer_);
  retry_timer_ = 0;
  auto waiters = std::move(waiters_);
  waiters_.clear();
  for (auto& [request, waiter] : waiters) {
    loop_.CancelTimer(waiter.timer);
    waiter.taken(MakeError(ErrorKind::kUnavailable, "spored is stopping"));
  }
  if (generations_list_.empty()) return done();
  stopped_ = std::move(done);
  for (auto& generation : generations_list_) {
    generation->pool->Retire();
    generation->link->Close();
  }
}

size_t ZygoteImage::ready_sandboxes() const {
  return current_ != nullptr ? current_->pool->ready() : 0;
}

Error ZygoteImage::FailedError() const {
  std::string hint = "spored tries again by itself; its log says more";
  if (!manifest_.packages.empty()) {
    hint = "this image needs the Debian packages";
    for (const std::string& package : manifest_.packages) hint += " " + package;
  }
  return Error{ErrorKind::kPrecondition,
               0,
               "image " + manifest_.name + " cannot be used: " + reason_,
               {},
               hint};
}

v1::Image ZygoteImage::Describe() const {
  v1::Image image;
  image.set_name(manifest_.name);
  image.set_runtime(manifest_.runtime);
  image.set_state(state_);
  image.set_reason(reason_);
  for (const std::string& module : manifest_.preload) image.add_preload(module);
  if (current_ != nullptr) image.set_zygote_pid(current_->link->zygote_host_pid());
  image.set_forks(forks_);
  image.set_runtime_version(runtime_version_);
  image.set_interpreter(manifest_.interpreter);
  for (const std::string& option : manifest_.options) image.add_options(option);
  for (const auto& [key, value] : manifest_.environment)
    (*image.mutable_environment())[key] = value;
  for (const std::string& package : manifest_.packages) image.add_packages(package);
  image.set_eager(manifest_.eager);
  image.set_threads(manifest_.threads);
  image.set_manifest(manifest_.path);
  *image.mutable_limits() = options_.limits;
  return image;
}

}  // namespace spore
