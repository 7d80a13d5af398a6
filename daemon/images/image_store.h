// Imported images: versions of manifest and root that never change. docs/decisions/0012 says why.
//
// Threads: all calls from the loop's thread. What takes long is done on a lane of its own, so that
// deployments do not wait for an import; one at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "daemon/config/config.h"
#include "daemon/images/image_disk.h"
#include "daemon/loop/event_loop.h"
#include "sandbox/sys/result.h"
#include "sandbox/sys/unique_fd.h"

namespace spore {

class ImageStore {
 public:
  static Result<std::unique_ptr<ImageStore>> Open(EventLoop& loop,
                                                  const ImageStoreOptions& options);
  ~ImageStore();

  // Every version that was there at Open.
  const std::vector<ImageManifest>& loaded() const { return loaded_; }

  // Each calls back on the loop, never from inside.
  void Import(ImageImport import, UniqueFd archive,
              std::function<void(Result<ImportedImage>)> done);
  void Remove(const std::string& name, uint64_t version, std::function<void(Result<>)> done);
  void Verify(const ImageManifest& image, std::function<void(Result<ListingDifferences>)> done);

 private:
  ImageStore(EventLoop& loop, std::unique_ptr<ImageDisk> disk);
  template <typename T>
  void Submit(std::function<Result<T>(ImageDisk&)> work, std::function<void(Result<T>)> done);

  std::shared_ptr<ImageDisk> disk_;
  std::vector<ImageManifest> loaded_;
  BlockingLane lane_;
};

}  // namespace spore
