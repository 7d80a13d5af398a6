// Checkpoints to and from other hosts: docs/decisions/0017-checkpoints-that-travel.md.
#include <sys/eventfd.h>

#include <utility>

#include "daemon/checkpoints/checkpoint_import.h"
#include "daemon/checkpoints/checkpoint_parcel.h"
#include "daemon/checkpoints/checkpoints.h"

namespace spore {

void Checkpoints::Export(const std::string& id, Exported done) {
  auto result = std::make_shared<Result<Parcel>>(Parcel());
  const auto prepare = [store = store_, id]() -> Result<Parcel> {
    SPORE_ASSIGN(const v1::Checkpoint checkpoint, store->Find(id));
    Parcel parcel;
    auto archive = store->OpenArchive(checkpoint);
    if (!archive) return tl::unexpected(std::move(archive).error().Wrap("checkpoint " + id));
    parcel.archive = std::move(*archive);
    parcel.archive_bytes = checkpoint.archive_bytes();
    SPORE_ASSIGN(parcel.head, MakeParcelHead(checkpoint));
    return parcel;
  };
  transfers_->Submit([result, prepare] { *result = prepare(); },
                     [result, done = std::move(done)] { done(std::move(*result)); });
}

void Checkpoints::Import(UniqueFd source, bool keep_unusable,
                         std::map<std::string, ImageManifest> images, Kept done) {
  auto owned = std::make_shared<UniqueFd>(std::move(source));
  auto result = std::make_shared<Result<v1::Checkpoint>>(v1::Checkpoint());
  CheckpointImport import{.source = owned->get(),
                          .stop = stop_.get(),
                          .unpack_program = options_.unpack_program,
                          .unpack_uid = options_.unpack_uid,
                          .max_bytes = options_.max_bytes,
                          .keep_unusable = keep_unusable,
                          .images = std::move(images),
                          .host_directory = options_.host_directory};
  transfers_->Submit(
      [result, owned, store = store_, import = std::move(import)] {
        *result = ImportCheckpoint(*store, import);
        owned->Reset();
      },
      [this, result, done = std::move(done)] {
        if (*result) {
          images_.insert((*result)->image());
          distrusted_.erase((*result)->id());
        }
        done(std::move(*result));
      });
}

void Checkpoints::RemoveAllOf(const std::string& image, std::function<void(Result<>)> done) {
  auto result = std::make_shared<Result<>>();
  const auto remove = [store = store_, image]() -> Result<> {
    for (const v1::Checkpoint& checkpoint : store->List()) {
      if (checkpoint.image() == image) SPORE_TRY(store->Remove(checkpoint));
    }
    return {};
  };
  lane_->Submit([result, remove] { *result = remove(); },
                [this, result, image, done = std::move(done)] {
                  if (*result) images_.erase(image);
                  done(*result);
                });
}

// The lanes wait for the jobs that they have begun.
Checkpoints::~Checkpoints() {
  (void)eventfd_write(stop_.get(), 1);
}

}  // namespace spore
