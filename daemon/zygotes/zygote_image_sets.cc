// The zygotes of an image's library sets: who is served by which, and when they come and go.
#include <algorithm>
#include <utility>

#include "daemon/common/log.h"
#include "daemon/zygotes/zygote_image.h"

namespace spore {

ZygoteImage::Lease ZygoteImage::Source::LeaseOf(std::unique_ptr<Sandbox> sandbox) const {
  if (library != nullptr) library->CountFork();
  return {generation, pool, library != nullptr ? library->set().name : "", std::move(sandbox)};
}

SandboxPool::Options ZygoteImage::PoolOptions() const {
  return {manifest_.name, options_.ready_sandboxes,
          std::max(options_.ready_sandboxes, options_.max_ready_sandboxes),
          options_.spare_sandboxes, options_.sandbox};
}

std::unique_ptr<LibraryZygotes> ZygoteImage::MakeLibraries(ZygoteGeneration* generation) {
  SandboxPool::Options pool = PoolOptions();
  pool.spare = 0;  // the image's own are enough for a burst
  const LibraryZygote::Parts parts{loop_, *options_.lane, *generation->link, cgroups_, uids_, pool};
  return std::make_unique<LibraryZygotes>(
      parts, manifest_,
      LibraryZygotes::Handlers{
          [this, generation](const LibraryZygote& zygote) {
            if (generation != current_) return;
            options_.keeper->Ready(KeyOf(zygote.set().name), zygote.import_us(),
                                   zygote.unique_bytes());
            Tell(v1::HostEvent::ZYGOTE_READY, zygote.set().name,
                 std::to_string(zygote.unique_bytes() >> 10) + " KiB of its own");
          },
          [this, generation](const std::string& set, const std::string& reason, bool failed) {
            if (generation != current_) return;
            options_.keeper->Gone(KeyOf(set), reason, failed);
            Tell(failed ? v1::HostEvent::ZYGOTE_FAILED : v1::HostEvent::ZYGOTE_EVICTED, set,
                 reason);
            ServeWaitersSoon();
          }});
}

// Those that waited at a pool that is no more.
void ZygoteImage::ServeWaitersSoon() {
  loop_.Post([this, alive = alive_] {
    if (*alive) ServeWaiters();
  });
}

// Few sessions have it, so none are made ahead but after some were taken at once.
SandboxPool& ZygoteImage::EgressPool(ZygoteGeneration& generation) {
  if (generation.egress_pool) return *generation.egress_pool;
  SandboxPool::Options pool = PoolOptions();
  pool.least = 0;
  pool.spare = 0;
  pool.defaults.loopback = pool.defaults.egress = pool.defaults.limits.sockets = true;
  generation.egress_pool = std::make_unique<SandboxPool>(
      loop_, *generation.link, generation.link->zygote(), cgroups_, uids_, std::move(pool));
  return *generation.egress_pool;
}

ZygoteImage::Source ZygoteImage::SourceOf(const Wish& wish) {
  if (wish.egress) return {current_, &EgressPool(*current_), nullptr};
  const std::string& set = wish.set;
  LibraryZygote* library = set.empty() ? nullptr : current_->libraries->Serving(set);
  return {current_, library != nullptr ? &library->pool() : current_->pool.get(), library};
}

// A fresh generation has the sets that the one before it has, and those that it always has, before
// it takes over. What fails is tried again later: it does not keep the rest from being replaced.
void ZygoteImage::GrowAlike(ZygoteGeneration* generation, std::function<void()> done) {
  std::vector<std::string> sets = current_->libraries->ReadySets();
  for (const LibrarySet& set : manifest_.sets) {
    if (set.eager && std::find(sets.begin(), sets.end(), set.name) == sets.end())
      sets.push_back(set.name);
  }
  auto left = std::make_shared<size_t>(sets.size() + 1);
  const auto one_done = [left, done = std::move(done)](const Result<>&) {
    if (--*left == 0) done();
  };
  for (const std::string& set : sets) generation->libraries->Grow(set, one_done);
  one_done({});
}

// The current generation has begun to serve: the keeper learns what it has.
void ZygoteImage::SetsServe() {
  for (const LibrarySet& set : manifest_.sets) {
    const LibraryZygote* zygote = current_->libraries->Find(set.name);
    if (zygote != nullptr && zygote->usable()) {
      options_.keeper->Ready(KeyOf(set.name), zygote->import_us(), zygote->unique_bytes());
    } else if (set.eager) {
      current_->libraries->Grow(set.name, [](const Result<>&) {});
    }
  }
  if (!manifest_.sets.empty()) options_.keeper->DecideSoon();
}

void ZygoteImage::GrowSet(const std::string& set) {
  const auto told = [this, set, alive = alive_](const Result<>& grown) {
    if (*alive && !grown) options_.keeper->Gone(KeyOf(set), grown.error().Message(), false);
  };
  if (state_ != v1::Image::READY || stopping_)
    return told(MakeError(ErrorKind::kUnavailable, "its image has no zygote"));
  current_->libraries->Grow(set, told);
}

void ZygoteImage::ShrinkSet(const std::string& set, const std::string& reason) {
  if (current_ == nullptr) return;
  Log(LogLevel::kInfo, "image " + manifest_.name + ", set " + set + ": its zygote ends: " + reason,
      {{"SPORE_IMAGE", manifest_.name}, {"SPORE_SET", set}});
  current_->libraries->Shrink(set, reason, nullptr);
}

void ZygoteImage::WarmSet(const std::string& set, Done done) {
  if (manifest_.FindSet(set) == nullptr) return done(tl::unexpected(NoSuchSet(set)));
  Warm([this, set, done = std::move(done), alive = alive_](const Result<>& warmed) {
    if (!warmed) return done(warmed);
    if (*alive && current_ != nullptr) current_->libraries->Grow(set, done);
  });
}

Result<> ZygoteImage::EvictSet(const std::string& set) {
  if (manifest_.FindSet(set) == nullptr) return tl::unexpected(NoSuchSet(set));
  if (current_ == nullptr || current_->libraries->Find(set) == nullptr) {
    return MakeError(ErrorKind::kPrecondition,
                     "image " + manifest_.name + ", set " + set + " has no zygote to evict");
  }
  // What is made from it would have it made again.
  for (const LibrarySet& held : manifest_.sets) {
    const auto chain = manifest_.Chain(held.name);
    if (std::any_of(chain.begin(), chain.end(),
                    [&](const auto* part) { return part->name == set; }))
      options_.keeper->Forget(KeyOf(held.name));
  }
  ShrinkSet(set, "it was evicted");
  return {};
}

Error ZygoteImage::NoSuchSet(const std::string& set) const {
  std::string names;
  for (const LibrarySet& held : manifest_.sets) names += (names.empty() ? "" : ", ") + held.name;
  return {ErrorKind::kNotFound,
          0,
          "image " + manifest_.name + " has no library set \"" + set.substr(0, 64) + "\"; it has " +
              (names.empty() ? "none" : names),
          {},
          {}};
}

void ZygoteImage::DescribeSets(const ZygoteGeneration& generation,
                               std::vector<v1::Zygote>& zygotes) const {
  const auto add = [&] {
    v1::Zygote& zygote = zygotes.emplace_back();
    zygote.set_image(manifest_.name);
    zygote.set_generation(generation.number);
    return &zygote;
  };
  for (const auto& held : generation.libraries->all()) {
    v1::Zygote* zygote = add();
    held->Describe(*zygote);
    if (&generation == current_)
      zygote->set_recent_starts(options_.keeper->Of(KeyOf(zygote->set())).recent);
  }
  if (&generation != current_ || generation.state != v1::Zygote::READY) return;
  for (const LibrarySet& set : manifest_.sets) {
    if (generation.libraries->Find(set.name) != nullptr) continue;
    const ZygoteTreePolicy::View view = options_.keeper->Of(KeyOf(set.name));
    v1::Zygote* zygote = add();
    zygote->set_set(set.name);
    zygote->set_parent(set.parent);
    zygote->set_state(v1::Zygote::ABSENT);
    zygote->set_reason(view.reason);
    zygote->set_recent_starts(view.recent);
    zygote->set_import_us(view.import_us);
    zygote->set_unique_bytes(view.bytes);
  }
}

}  // namespace spore
