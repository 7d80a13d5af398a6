#include "daemon/zygotes/library_zygotes.h"

#include <algorithm>
#include <utility>

#include "daemon/common/log.h"

namespace spore {

LibraryZygotes::LibraryZygotes(const LibraryZygote::Parts& parts, const ImageManifest& manifest,
                               Handlers handlers)
    : parts_(parts),
      manifest_(manifest),
      handlers_(std::move(handlers)),
      alive_(std::make_shared<bool>(true)) {}

LibraryZygotes::~LibraryZygotes() {
  *alive_ = false;
}

LibraryZygote* LibraryZygotes::Find(const std::string& set) const {
  for (const auto& zygote : all_) {
    if (zygote->set().name == set && zygote->state() != v1::Zygote::DRAINING) return zygote.get();
  }
  return nullptr;
}

LibraryZygote* LibraryZygotes::Serving(const std::string& set) const {
  if (all_.empty()) return nullptr;
  for (const LibrarySet* held : manifest_.Chain(set)) {
    LibraryZygote* zygote = Find(held->name);
    if (zygote != nullptr && zygote->usable()) return zygote;
  }
  return nullptr;
}

std::vector<std::string> LibraryZygotes::ReadySets() const {
  std::vector<std::string> sets;
  for (const LibrarySet& set : manifest_.sets) {
    const LibraryZygote* zygote = Find(set.name);
    if (zygote != nullptr && zygote->usable()) sets.push_back(set.name);
  }
  return sets;
}

// Or is it.
bool LibraryZygotes::IsBelow(const std::string& name, const std::string& set) const {
  const auto chain = manifest_.Chain(name);
  return std::any_of(chain.begin(), chain.end(),
                     [&](const LibrarySet* held) { return held->name == set; });
}

size_t LibraryZygotes::in_use() const {
  size_t count = 0;
  for (const auto& zygote : all_) count += zygote->pool().in_use();
  return count;
}

size_t LibraryZygotes::in_use_below(const std::string& set) const {
  size_t count = 0;
  for (const auto& zygote : all_) {
    if (IsBelow(zygote->set().name, set)) count += zygote->pool().in_use();
  }
  return count;
}

void LibraryZygotes::Grow(const std::string& set, Done done) {
  if (retired_) return done(MakeError(ErrorKind::kUnavailable, "its image's zygote ended"));
  if (const LibraryZygote* there = Find(set); there != nullptr && there->usable()) return done({});
  const std::vector<const LibrarySet*> chain = manifest_.Chain(set);
  if (chain.empty()) return done(MakeError(ErrorKind::kNotFound, "no set \"" + set + "\""));
  awaiting_[set].push_back(std::move(done));
  // The highest that is not there; Ready goes on from it.
  for (auto held = chain.rbegin(); held != chain.rend(); ++held) {
    const LibraryZygote* there = Find((*held)->name);
    if (there != nullptr && there->usable()) continue;
    if (there == nullptr) Begin(**held);
    return;
  }
}

void LibraryZygotes::Begin(const LibrarySet& set) {
  all_.push_back(std::make_unique<LibraryZygote>(
      parts_, set, manifest_.name,
      LibraryZygote::Handlers{
          [this](LibraryZygote& zygote) { Ready(zygote); },
          [this](LibraryZygote& zygote, const std::string& reason) { Gone(zygote, reason); },
          [this](LibraryZygote& zygote) { Finished(zygote); }}));
  auto started = Copy(set, *all_.back());
  if (started) return;
  all_.pop_back();
  Failed(set.name, started.error().Message());
}

Result<> LibraryZygotes::Copy(const LibrarySet& set, LibraryZygote& zygote) {
  ZygoteChannel* from = stem_ ? &stem_->channel() : nullptr;
  if (!set.parent.empty()) {
    LibraryZygote* above = Find(set.parent);
    from = above != nullptr ? above->stem() : nullptr;
  }
  if (from == nullptr) {
    return MakeError(ErrorKind::kUnavailable, "what it is copied from is gone",
                     "`spore zygote rotate " + manifest_.name + "` makes it anew");
  }
  const bool parent = std::any_of(manifest_.sets.begin(), manifest_.sets.end(),
                                  [&](const auto& held) { return held.parent == set.name; });
  return zygote.Start(*from, parent);
}

// A process whose children have been born into a sandbox's pid namespace cannot have any in its own
// again: that belongs to the host's user namespace, and setns(2) wants a capability there, which no
// zygote has. So before it is first forked, a zygote that others are made from is copied: its stem
// serves nobody but them.
void LibraryZygotes::StartStem() {
  if (manifest_.sets.empty() || retired_) return;
  stem_ = std::make_unique<CopiedZygote>(
      parts_.loop, parts_.link, "image " + manifest_.name,
      CopiedZygote::Handlers{[](const wire::ZygoteReady&) {},
                             [this](const std::string& reason) {
                               if (!retired_)
                                 Log(LogLevel::kError,
                                     "image " + manifest_.name +
                                         ": no zygotes of sets can be made from it until it is "
                                         "replaced: its stem is gone: " +
                                         reason,
                                     {{"SPORE_IMAGE", manifest_.name}});
                             },
                             [this] {
                               stem_.reset();
                               TellIfEmpty();
                             }});
  if (auto started = stem_->Start(parts_.link.zygote(), {}); !started) {
    stem_.reset();
    Log(LogLevel::kError, "image " + manifest_.name + ": " + started.error().Message(),
        {{"SPORE_IMAGE", manifest_.name}});
  }
}

void LibraryZygotes::Settle(const std::string& set, const Result<>& result) {
  auto found = awaiting_.extract(set);
  if (found.empty()) return;
  for (const Done& done : found.mapped()) done(result);
}

void LibraryZygotes::Ready(LibraryZygote& zygote) {
  const std::string set = zygote.set().name;
  Log(LogLevel::kInfo,
      "image " + manifest_.name + ", set " + set + ": ready, import " +
          std::to_string(zygote.import_us() / 1000) + " ms, " +
          std::to_string(zygote.unique_bytes() >> 10) + " KiB",
      {{"SPORE_IMAGE", manifest_.name}, {"SPORE_SET", set}});
  const std::shared_ptr<bool> alive = alive_;
  handlers_.on_ready(zygote);
  if (*alive) Settle(set, {});
  if (!*alive) return;
  // Those that waited for this one to be there.
  std::vector<const LibrarySet*> next;
  for (const auto& [waiting, dones] : awaiting_) {
    for (const LibrarySet* held : manifest_.Chain(waiting)) {
      if (held->parent == set && Find(held->name) == nullptr) next.push_back(held);
    }
  }
  for (const LibrarySet* held : next) {
    if (Find(held->name) == nullptr) Begin(*held);
  }
}

void LibraryZygotes::Gone(LibraryZygote& zygote, const std::string& reason) {
  const std::string set = zygote.set().name;
  if (!ending_) return Failed(set, reason);
  const std::shared_ptr<bool> alive = alive_;
  handlers_.on_gone(set, reason, /*failed=*/false);
  if (*alive) SettleBelow(set, reason);
}

void LibraryZygotes::Failed(const std::string& set, const std::string& reason) {
  Log(LogLevel::kError,
      "image " + manifest_.name + ", set " + set + ": " + reason +
          "; its functions start from what is above it",
      {{"SPORE_IMAGE", manifest_.name}, {"SPORE_SET", set}});
  const std::shared_ptr<bool> alive = alive_;
  handlers_.on_gone(set, reason, /*failed=*/true);
  if (*alive) SettleBelow(set, reason);
}

// Who waits for it, or for one that would be made from it.
void LibraryZygotes::SettleBelow(const std::string& set, const std::string& reason) {
  std::vector<std::string> waiting;
  for (const auto& [name, dones] : awaiting_) {
    if (IsBelow(name, set)) waiting.push_back(name);
  }
  const std::shared_ptr<bool> alive = alive_;
  for (const std::string& name : waiting) {
    if (!*alive) return;
    Settle(name, MakeError(ErrorKind::kPrecondition,
                           "image " + manifest_.name + ", set " + set + ": " + reason));
  }
}

void LibraryZygotes::Shrink(const std::string& set, const std::string& reason,
                            std::function<void()> done) {
  std::vector<LibraryZygote*> ends;
  for (const auto& zygote : all_) {
    if (zygote->state() != v1::Zygote::DRAINING && IsBelow(zygote->set().name, set))
      ends.push_back(zygote.get());
  }
  if (ends.empty()) {
    if (done) parts_.loop.Post(std::move(done));
    return;
  }
  shrinking_.push_back({ends, std::move(done)});
  const bool ending = std::exchange(ending_, true);
  for (LibraryZygote* zygote : ends) zygote->End(reason);
  ending_ = ending;
}

void LibraryZygotes::Finished(LibraryZygote& zygote) {
  LibraryZygote* const gone = &zygote;
  all_.remove_if([&](const auto& held) { return held.get() == gone; });
  std::vector<std::function<void()>> dones;
  for (auto it = shrinking_.begin(); it != shrinking_.end();) {
    std::erase(it->left, gone);
    if (!it->left.empty()) {
      ++it;
      continue;
    }
    if (it->done) dones.push_back(std::move(it->done));
    it = shrinking_.erase(it);
  }
  const std::shared_ptr<bool> alive = alive_;
  for (const auto& done : dones) done();
  if (*alive) TellIfEmpty();
}

void LibraryZygotes::Retire(std::function<void()> empty) {
  retired_ = true;
  empty_ = std::move(empty);
  const bool ending = std::exchange(ending_, true);
  for (const auto& zygote : all_) zygote->End("its image's zygote ended");
  ending_ = ending;
  if (stem_) stem_->End("its image's zygote ended");
  TellIfEmpty();
}

void LibraryZygotes::TellIfEmpty() {
  if (!empty_ || stem_ || !all_.empty()) return;
  parts_.loop.Post([empty = std::exchange(empty_, nullptr), alive = alive_] {
    if (*alive) empty();
  });
}

}  // namespace spore
