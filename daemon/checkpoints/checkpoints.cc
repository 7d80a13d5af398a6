#include "daemon/checkpoints/checkpoints.h"

#include <sys/eventfd.h>
#include <sys/sysinfo.h>

#include <utility>

#include "daemon/checkpoints/checkpoint_ties.h"
#include "daemon/common/log.h"

namespace spore {
namespace {

// Of the files of a checkpoint, beyond what is in them; and of a dump. A tmpfs takes what it needs.
constexpr uint64_t kSlack = 64ull << 20;
constexpr uint64_t kMostDumped = 16ull << 30;
constexpr uint64_t kPrefetchedPart = 8;

using Distrusted = std::map<std::string, std::string>;

void Judge(v1::Checkpoint& checkpoint, const v1::Checkpoint& here, const Distrusted& distrusted) {
  if (!checkpoint.unusable().empty()) return;
  checkpoint.set_unusable(DifferenceOf(checkpoint, here));
  const auto found = distrusted.find(checkpoint.id());
  if (checkpoint.unusable().empty() && found != distrusted.end())
    checkpoint.set_unusable(found->second);
}

// The named one, or the newest that will do.
Result<v1::Checkpoint> Choose(const CheckpointStore& store, const std::string& image,
                              const std::string& id, const v1::Checkpoint& here,
                              const Distrusted& distrusted) {
  std::string reason;
  for (v1::Checkpoint& checkpoint : store.List()) {
    if (checkpoint.image() != image || (!id.empty() && checkpoint.id() != id)) continue;
    // Whoever names one may try it again.
    Judge(checkpoint, here, id.empty() ? distrusted : Distrusted());
    if (checkpoint.unusable().empty()) return checkpoint;
    if (reason.empty()) reason = checkpoint.id() + ": " + checkpoint.unusable();
  }
  if (reason.empty()) return MakeError(ErrorKind::kNotFound, "no checkpoint of image " + image);
  return MakeError(ErrorKind::kPrecondition, "checkpoint " + reason);
}

// Those that are likely to be restored: of each image the newest, while they are a small part of
// the host's memory together.
void PrefetchNewest(const CheckpointStore& store, const std::vector<v1::Checkpoint>& all) {
  struct sysinfo host {};
  if (sysinfo(&host) != 0) return;
  uint64_t room = static_cast<uint64_t>(host.totalram) * host.mem_unit / kPrefetchedPart;
  std::set<std::string> images;
  for (const v1::Checkpoint& checkpoint : all) {
    if (!checkpoint.unusable().empty() || !images.insert(checkpoint.image()).second) continue;
    if (checkpoint.archive_bytes() > room) continue;
    room -= checkpoint.archive_bytes();
    store.Prefetch(checkpoint);
  }
}

std::vector<v1::Checkpoint> OfImage(const std::vector<v1::Checkpoint>& all,
                                    const std::string& image, const std::string& id) {
  std::vector<v1::Checkpoint> found;
  for (const v1::Checkpoint& checkpoint : all) {
    if (checkpoint.image() == image && (id.empty() || checkpoint.id() == id))
      found.push_back(checkpoint);
  }
  return found;
}

}  // namespace

Checkpoints::Checkpoints(EventLoop& loop, Options options, std::unique_ptr<CheckpointStore> store)
    : options_(std::move(options)),
      store_(std::move(store)),
      lane_(std::make_unique<BlockingLane>(loop)),
      transfers_(std::make_unique<BlockingLane>(loop)) {}

Result<std::unique_ptr<Checkpoints>> Checkpoints::Open(EventLoop& loop, const Options& options) {
  SPORE_ASSIGN(std::unique_ptr<CheckpointStore> store, CheckpointStore::Open(options.state_dir));
  const std::vector<v1::Checkpoint> all = store->List();
  std::unique_ptr<Checkpoints> made(new Checkpoints(loop, options, std::move(store)));
  made->stop_.Reset(eventfd(0, EFD_CLOEXEC));
  if (!made->stop_) return SysError("eventfd");
  made->Note(all);
  if (options.prefetch)
    made->lane_->Submit([store = made->store_, all] { PrefetchNewest(*store, all); }, [] {});
  return made;
}

void Checkpoints::Note(const std::vector<v1::Checkpoint>& all) {
  images_.clear();
  for (const v1::Checkpoint& checkpoint : all) images_.insert(checkpoint.image());
}

void Checkpoints::PrepareRestore(const ImageManifest& image, uid_t owner, const std::string& id,
                                 Prepared done) {
  auto result = std::make_shared<Result<MaterialPtr>>(nullptr);
  const auto prepare = [store = store_, options = options_, distrusted = distrusted_, image, owner,
                        id]() -> Result<MaterialPtr> {
    auto material = std::make_shared<Material>();
    if (options.prefetch) PrefetchNewest(*store, OfImage(store->List(), image.name, id));
    v1::Checkpoint here;
    SPORE_TRY(TieCheckpoint(image, options.host_directory, &here));
    SPORE_ASSIGN(material->checkpoint, Choose(*store, image.name, id, here, distrusted));
    SPORE_ASSIGN(material->criu, OpenCriu(options.criu));
    SPORE_ASSIGN(material->files,
                 MakeCheckpointFiles(owner, material->checkpoint.memory_bytes() + kSlack));
    auto unpacked = store->Unpack(material->checkpoint, material->files.directory.get(), owner);
    if (!unpacked) {
      const std::string which = "checkpoint " + material->checkpoint.id();
      return tl::unexpected(std::move(unpacked).error().Wrap(which));
    }
    return material;
  };
  lane_->Submit([result, prepare] { *result = prepare(); },
                [result, done = std::move(done)] { done(std::move(*result)); });
}

void Checkpoints::PrepareDump(const ImageManifest& image, uid_t owner, Prepared done) {
  auto result = std::make_shared<Result<MaterialPtr>>(nullptr);
  const auto prepare = [options = options_, image, owner]() -> Result<MaterialPtr> {
    auto material = std::make_shared<Material>();
    material->checkpoint.set_image(image.name);
    SPORE_TRY(TieCheckpoint(image, options.host_directory, &material->checkpoint));
    SPORE_ASSIGN(material->criu, OpenCriu(options.criu));
    SPORE_ASSIGN(material->files, MakeCheckpointFiles(owner, kMostDumped));
    return material;
  };
  lane_->Submit([result, prepare] { *result = prepare(); },
                [result, done = std::move(done)] { done(std::move(*result)); });
}

void Checkpoints::Keep(const MaterialPtr& material, Kept done) {
  auto result = std::make_shared<Result<v1::Checkpoint>>(v1::Checkpoint());
  const auto keep = [store = store_, material]() -> Result<v1::Checkpoint> {
    SPORE_ASSIGN(v1::Checkpoint kept,
                 store->Keep(material->checkpoint, material->files.directory.get()));
    material->files = {};
    if (!kept.automatic()) return kept;
    for (const v1::Checkpoint& old : store->List()) {
      if (old.image() != kept.image() || !old.automatic() || old.id() == kept.id()) continue;
      if (auto removed = store->Remove(old); !removed)
        Log(LogLevel::kWarning, "checkpoint " + old.id() + ": " + removed.error().Message());
    }
    return kept;
  };
  lane_->Submit([result, keep] { *result = keep(); },
                [this, result, done = std::move(done)] {
                  if (*result) images_.insert((*result)->image());
                  done(std::move(*result));
                });
}

void Checkpoints::List(const std::map<std::string, ImageManifest>& images, Listed done) {
  auto all = std::make_shared<std::vector<v1::Checkpoint>>();
  lane_->Submit(
      [all, store = store_, options = options_, distrusted = distrusted_, images] {
        *all = store->List();
        for (v1::Checkpoint& checkpoint : *all) {
          const auto image = images.find(checkpoint.image());
          if (image == images.end()) {
            checkpoint.set_unusable("there is no such image here");
            continue;
          }
          v1::Checkpoint ties;
          const auto tied = TieCheckpoint(image->second, options.host_directory, &ties);
          if (!tied) {
            checkpoint.set_unusable(tied.error().Message());
          } else {
            Judge(checkpoint, ties, distrusted);
          }
        }
      },
      [this, all, done = std::move(done)] {
        Note(*all);
        done(std::move(*all));
      });
}

void Checkpoints::Remove(const std::string& id, std::function<void(Result<>)> done) {
  auto result = std::make_shared<Result<>>();
  auto left = std::make_shared<std::vector<v1::Checkpoint>>();
  const auto remove = [store = store_, id]() -> Result<> {
    for (const v1::Checkpoint& checkpoint : store->List()) {
      if (checkpoint.id() == id) return store->Remove(checkpoint);
    }
    return MakeError(ErrorKind::kNotFound, "no checkpoint \"" + id.substr(0, 64) + "\"",
                     "`spore checkpoint ls` lists them");
  };
  lane_->Submit(
      [result, left, remove, store = store_] {
        *result = remove();
        *left = store->List();
      },
      [this, result, left, done = std::move(done)] {
        Note(*left);
        done(*result);
      });
}

void Checkpoints::Distrust(const std::string& id, const std::string& reason) {
  distrusted_[id] = reason;
}

}  // namespace spore
