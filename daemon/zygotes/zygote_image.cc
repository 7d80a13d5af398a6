#include "daemon/zygotes/zygote_image.h"

#include <algorithm>
#include <utility>

#include "daemon/common/unix_time.h"

namespace spore {
namespace {

// The longest that a request waits for a sandbox.
constexpr auto kTakeLimit = std::chrono::seconds(30);
// Uids of sandboxes: above those of Debian's system users, below 65534 (nobody).
constexpr uint32_t kFirstUid = 1000;
constexpr uint32_t kLastUid = 65000;
// One that was used so lately is likely to be wanted again at once.
constexpr uint64_t kIdleForEviction = 10'000'000'000;

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

uint64_t ZygoteImage::Take(const Wish& wish, Taken taken) {
  const uint64_t request = next_request_++;
  if (!wish.set.empty()) options_.keeper->Wanted(KeyOf(wish.set), wish.saves_us);
  if (stopping_) {
    taken(MakeError(ErrorKind::kUnavailable, "spored is stopping"));
    return request;
  }
  if (state_ == v1::Image::FAILED) {
    taken(tl::unexpected(FailedError()));
    return request;
  }
  if (state_ == v1::Image::READY) {
    const Source source = SourceOf(wish);
    if (source.pool->ready() + source.pool->spare() > 0) {
      source.pool->Take([&](Result<std::unique_ptr<Sandbox>> sandbox) {
        taken(source.LeaseOf(std::move(*sandbox)));
      });
      return request;
    }
  }
  StartIfNeeded();
  if (state_ == v1::Image::FAILED) {
    taken(tl::unexpected(FailedError()));
    return request;
  }
  Waiter& waiter = waiters_[request];
  waiter.taken = std::move(taken);
  waiter.wish = wish;
  waiter.for_zygote = state_ != v1::Image::READY;
  waiter.timer = loop_.AddTimer(kTakeLimit, [this, request] {
    Answer(request, MakeError(ErrorKind::kOverloaded,
                              "no sandbox of image " + manifest_.name + " was ready within 30 s"));
  });
  if (state_ == v1::Image::READY) TakeFromPool(request);
  return request;
}

// From the current generation's pools, those that wait at no other.
void ZygoteImage::ServeWaiters() {
  std::vector<uint64_t> requests;
  for (const auto& [request, waiter] : waiters_) {
    if (waiter.pool == nullptr) requests.push_back(request);
  }
  for (const uint64_t request : requests) {
    // Each that is served may do anything to the others.
    if (state_ == v1::Image::READY && waiters_.contains(request)) TakeFromPool(request);
  }
}

void ZygoteImage::TakeFromPool(uint64_t request) {
  Waiter& waiter = waiters_.at(request);
  const Source source = SourceOf(waiter.wish);
  waiter.pool = source.pool;
  const uint64_t pool_request = source.pool->Take(
      [this, request, source, alive = alive_](Result<std::unique_ptr<Sandbox>> sandbox) {
        if (!*alive) return;
        const auto found = waiters_.find(request);
        if (found == waiters_.end()) return;
        found->second.pool = nullptr;
        if (sandbox) return Answer(request, source.LeaseOf(std::move(*sandbox)));
        // The zygote went; the one above it or the next generation serves those who wait.
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
  if (lease && waiter.mapped().for_zygote) lease->start_kind = lease->generation->start_kind;
  waiter.mapped().taken(std::move(lease));
}

std::string ZygoteImage::Lease::StartReason() const {
  if (start_kind == v1::START_KIND_FORK) return {};
  if (start_kind == v1::START_KIND_RESTORE)
    return "its zygote was restored first, from checkpoint " + generation->checkpoint;
  const std::string& why = generation->start_reason;
  return "its zygote was loaded first" + (why.empty() ? "" : ": " + why);
}

void ZygoteImage::CancelTake(uint64_t request) {
  auto waiter = waiters_.extract(request);
  if (!waiter.empty()) Withdraw(waiter.mapped());
}

// It waits no longer.
void ZygoteImage::Withdraw(const Waiter& waiter) {
  loop_.CancelTimer(waiter.timer);
  if (waiter.pool != nullptr) waiter.pool->Cancel(waiter.pool_request);
}

void ZygoteImage::RefuseWaiters(const Error& error) {
  auto waiters = std::exchange(waiters_, {});
  for (auto& [request, waiter] : waiters) Withdraw(waiter);
  for (auto& [request, waiter] : waiters) waiter.taken(tl::unexpected(error));
}

size_t ZygoteImage::spare_sandboxes() const {
  if (current_ == nullptr) return 0;
  size_t spare = current_->pool->spare();
  for (const auto& zygote : current_->libraries->all()) spare += zygote->pool().spare();
  return spare;
}

size_t ZygoteImage::ready_sandboxes() const {
  if (current_ == nullptr) return 0;
  size_t ready = current_->pool->ready();
  for (const auto& zygote : current_->libraries->all()) ready += zygote->pool().ready();
  return ready;
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

void DescribeManifest(const ImageManifest& manifest, v1::Image* image) {
  image->set_name(manifest.name);
  image->set_runtime(manifest.runtime);
  for (const std::string& module : manifest.preload) image->add_preload(module);
  image->set_interpreter(manifest.interpreter);
  for (const std::string& option : manifest.options) image->add_options(option);
  for (const auto& [key, value] : manifest.environment)
    (*image->mutable_environment())[key] = value;
  for (const std::string& name : manifest.root.environment) image->add_archive_environment(name);
  for (const std::string& package : manifest.packages) image->add_packages(package);
  image->set_eager(manifest.eager);
  image->set_threads(manifest.threads);
  image->set_flat(manifest.flat);
  for (const std::string& name : manifest.deny) image->mutable_policy()->add_deny(name);
  image->mutable_policy()->set_loopback(manifest.loopback);
  image->set_manifest(manifest.path);
  image->set_warm_up(manifest.warm_up);
  const ImageRoot& root = manifest.root;
  image->set_version(root.version);
  image->set_digest(root.digest);
  image->set_root(root.path.empty() ? "host" : root.root_digest);
  image->set_source(root.source);
  image->set_source_digest(root.source_digest);
  image->set_created_unix_ms(root.created_unix_ms);
  image->set_root_bytes(root.bytes);
  image->set_root_files(root.files);
}

v1::Image ZygoteImage::Describe() const {
  v1::Image image;
  DescribeManifest(manifest_, &image);
  image.set_state(state_);
  image.set_reason(reason_);
  if (current_ != nullptr && current_->link->usable())
    image.set_zygote_pid(current_->link->zygote_host_pid());
  image.set_forks(forks_);
  image.set_runtime_version(runtime_version_);
  *image.mutable_limits() = options_.limits;
  for (const LibrarySet& held : manifest_.sets) {
    v1::LibrarySet* set = image.add_sets();
    set->set_name(held.name);
    set->set_parent(held.parent);
    for (const std::string& module : held.modules) set->add_modules(module);
    set->set_eager(held.eager);
  }
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
  zygote.set_flat_bytes(generation.flat_bytes);
  zygote.set_unmoved_bytes(generation.unmoved_bytes);
  zygote.set_flat_note(generation.flat_note);
  zygote.set_sandboxes_ready(static_cast<uint32_t>(generation.pool->ready()));
  zygote.set_sandboxes_spare(static_cast<uint32_t>(generation.pool->spare()));
  zygote.set_instances(static_cast<uint32_t>(generation.own_in_use()));
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
  for (const auto& generation : generations_list_) {
    zygotes.push_back(Describe(*generation));
    DescribeSets(*generation, zygotes);
  }
  return zygotes;
}

v1::Zygote ZygoteImage::DescribeZygote(const std::string& set) const {
  if (current_ == nullptr) return {};
  v1::Zygote zygote = Describe(*current_);
  if (set.empty()) return zygote;
  std::vector<v1::Zygote> sets;
  DescribeSets(*current_, sets);
  for (const v1::Zygote& held : sets) {
    if (held.set() == set) return held;
  }
  return zygote;
}

std::optional<MemoryHolder> ZygoteImage::DescribeIdleMemory() const {
  if (state_ != v1::Image::READY || next_ != nullptr || !waiters_.empty()) return std::nullopt;
  if (current_->in_use() > 0) return std::nullopt;
  const uint64_t idle_ns = MonotonicNs() - std::max(used_ns_, current_->ready_ns);
  if (idle_ns < kIdleForEviction) return std::nullopt;
  MemoryHolder holder;
  holder.bytes = current_->link->memory_bytes() + current_->pool->ready_bytes();
  for (const auto& zygote : current_->libraries->all())
    holder.bytes += zygote->pool().ready_bytes();
  holder.idle_ms = idle_ns / 1'000'000;
  holder.rebuild_us = current_->preload_us;
  return holder;
}

}  // namespace spore
