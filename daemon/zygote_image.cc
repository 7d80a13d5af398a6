#include "daemon/zygote_image.h"

#include <algorithm>
#include <utility>

#include "daemon/unix_time.h"

namespace spore {
namespace {

// The longest that a request waits for a sandbox.
constexpr auto kTakeLimit = std::chrono::seconds(30);
// Uids of sandboxes: above those of Debian's system users, below 65534 (nobody).
constexpr uint32_t kFirstUid = 1000;
constexpr uint32_t kLastUid = 65000;

}  // namespace

ZygoteImage::ZygoteImage(EventLoop& loop, CgroupTree& cgroups, ImageManifest manifest,
                         Options options)
    : loop_(loop),
      cgroups_(cgroups),
      manifest_(std::move(manifest)),
      options_(std::move(options)),
      uids_(kFirstUid, kLastUid),
      schedule_(options_.rotation),
      alive_(std::make_shared<bool>(true)) {}

ZygoteImage::~ZygoteImage() {
  *alive_ = false;
  CancelTimer(retry_timer_);
  CancelTimer(rotation_timer_);
  CancelTimer(dump_timer_);
  dump_.reset();
  for (auto& [id, waiter] : waiters_) loop_.CancelTimer(waiter.timer);
  for (auto& generation : generations_list_) {
    CancelTimer(generation->start_timer);
    generation->link.reset();
  }
  generations_list_.clear();
  if (group_added_) (void)cgroups_.RemoveGroup(manifest_.name);
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
  waiter.timer = loop_.AddTimer(kTakeLimit, [this, request] {
    Answer(request, MakeError(ErrorKind::kOverloaded,
                              "no sandbox of image " + manifest_.name + " was ready within 30 s"));
  });
  if (state_ == v1::Image::READY) TakeFromPool(request);
  return request;
}

// From the current generation's pool, those that wait at no other.
void ZygoteImage::ServeWaiters() {
  std::vector<uint64_t> requests;
  for (const auto& [request, waiter] : waiters_) {
    if (waiter.generation == nullptr) requests.push_back(request);
  }
  for (const uint64_t request : requests) {
    // Each that is served may do anything to the others.
    if (state_ == v1::Image::READY && waiters_.contains(request)) TakeFromPool(request);
  }
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
  Withdraw(waiter.mapped());
  waiter.mapped().taken(std::move(lease));
}

void ZygoteImage::CancelTake(uint64_t request) {
  auto waiter = waiters_.extract(request);
  if (!waiter.empty()) Withdraw(waiter.mapped());
}

// It waits no longer.
void ZygoteImage::Withdraw(const Waiter& waiter) {
  loop_.CancelTimer(waiter.timer);
  if (waiter.generation != nullptr) waiter.generation->pool->Cancel(waiter.pool_request);
}

void ZygoteImage::RefuseWaiters(const Error& error) {
  auto waiters = std::exchange(waiters_, {});
  for (auto& [request, waiter] : waiters) Withdraw(waiter);
  for (auto& [request, waiter] : waiters) waiter.taken(tl::unexpected(error));
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
  if (current_ != nullptr && current_->link->usable())
    image.set_zygote_pid(current_->link->zygote_host_pid());
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

v1::Zygote ZygoteImage::Describe(const ZygoteGeneration& generation) const {
  v1::Zygote zygote;
  zygote.set_image(manifest_.name);
  zygote.set_generation(generation.number);
  zygote.set_state(generation.state);
  if (generation.link->usable()) zygote.set_pid(generation.link->zygote_host_pid());
  zygote.set_started_unix_ms(generation.started_unix_ms);
  zygote.set_preload_us(generation.preload_us);
  zygote.set_forks(generation.forks);
  zygote.set_sandboxes_ready(static_cast<uint32_t>(generation.pool->ready()));
  zygote.set_instances(static_cast<uint32_t>(generation.pool->in_use()));
  zygote.set_start_kind(generation.start_kind);
  zygote.set_start_reason(generation.start_reason);
  zygote.set_checkpoint(generation.checkpoint);
  if (generation.ready_ns != 0)
    zygote.set_start_us((generation.ready_ns - generation.started_ns) / 1000);
  if (&generation != current_) return zygote;
  zygote.set_rotation_error(rotation_error_);
  zygote.set_rotation_failures(schedule_.failures());
  if (const auto due_ns = schedule_.DueNs(generation.forks)) {
    const auto ahead_ns = static_cast<int64_t>(*due_ns) - static_cast<int64_t>(MonotonicNs());
    zygote.set_next_rotation_unix_ms(NowUnixMs() + std::max<int64_t>(0, ahead_ns / 1'000'000));
  }
  return zygote;
}

std::vector<v1::Zygote> ZygoteImage::DescribeZygotes() const {
  std::vector<v1::Zygote> zygotes;
  for (const auto& generation : generations_list_) zygotes.push_back(Describe(*generation));
  return zygotes;
}

v1::Zygote ZygoteImage::DescribeZygote() const {
  return current_ != nullptr ? Describe(*current_) : v1::Zygote();
}

}  // namespace spore
