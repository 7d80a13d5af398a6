#include "daemon/images/image_store.h"

#include <optional>
#include <utility>

namespace spore {

ImageStore::ImageStore(EventLoop& loop, std::unique_ptr<ImageDisk> disk)
    : disk_(std::move(disk)), lane_(loop) {
  for (const auto& [name, versions] : disk_->versions()) {
    for (const auto& [version, image] : versions) loaded_.push_back(image);
  }
}

// The lane waits for the job it has begun.
ImageStore::~ImageStore() {
  disk_->Stop();
}

Result<std::unique_ptr<ImageStore>> ImageStore::Open(EventLoop& loop,
                                                     const ImageStoreOptions& options) {
  SPORE_ASSIGN(std::unique_ptr<ImageDisk> disk, ImageDisk::Open(options));
  return std::unique_ptr<ImageStore>(new ImageStore(loop, std::move(disk)));
}

template <typename T>
void ImageStore::Submit(std::function<Result<T>(ImageDisk&)> work,
                        std::function<void(Result<T>)> done) {
  auto result = std::make_shared<std::optional<Result<T>>>();
  lane_.Submit([disk = disk_, work = std::move(work), result] { *result = work(*disk); },
               [result, done = std::move(done)] { done(std::move(**result)); });
}

void ImageStore::Import(ImageImport import, UniqueFd archive,
                        std::function<void(Result<ImportedImage>)> done) {
  auto owned = std::make_shared<UniqueFd>(std::move(archive));
  Submit<ImportedImage>(
      [import = std::move(import), owned](ImageDisk& disk) {
        auto imported = disk.Import(import, *owned);
        owned->Reset();
        return imported;
      },
      std::move(done));
}

void ImageStore::Remove(const std::string& name, uint64_t version,
                        std::function<void(Result<>)> done) {
  Submit<void>([name, version](ImageDisk& disk) { return disk.Remove(name, version); },
               std::move(done));
}

void ImageStore::Verify(const ImageManifest& image,
                        std::function<void(Result<ListingDifferences>)> done) {
  Submit<ListingDifferences>([image](ImageDisk& disk) { return disk.Verify(image); },
                             std::move(done));
}

}  // namespace spore
