// The image store on disk: every change of it, one at a time.
//
//   <state>/images/roots/<hex>/tree/       a root, root's own, nothing writable to others
//   <state>/images/roots/<hex>/listing     what it holds (image_listing.h); <hex> is its SHA-256
//   <state>/images/names/<name>/<N>/manifest.toml
//   <state>/images/names/<name>/<N>/image.pb    spore.v1.Image, serialized: where it came from
//   <state>/images/staging/                what a crash may leave; emptied at Open
//
// Nothing changes once it is there. Versions share a root that is the same. A root, then a version
// of it, becomes visible by one rename after everything below it has been synced.
//
// Belongs to a blocking lane of its own once Open has returned, but for Stop. Fault points, in
// order: image-staged  image-unpacked  image-listed  image-root-placed  image-placed
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "daemon/config/config.h"
#include "daemon/functions/function_store_disk.h"
#include "daemon/images/image_listing.h"
#include "sandbox/sys/result.h"
#include "sandbox/sys/unique_fd.h"

namespace spore {

struct ImageStoreOptions {
  std::string state_dir;
  std::string unpack_program;  // path of spore-unpack
  uid_t unpack_uid = 0;        // an unprivileged uid that nobody else ever has
  uint64_t max_bytes = 0;
  std::function<void(const std::string&)> report;  // told what recovery dropped or had to skip
};

struct ImageImport {
  std::string name;
  std::string manifest;  // TOML
  std::string runtime;   // added to it if it names none; else they must agree
  std::string source;
};

struct ImportedImage {
  ImageManifest image;
  bool unchanged = false;
  std::vector<std::string> notes;
};

// The manifest as it is to be stored, checked. kInvalid names the key.
Result<std::string> CompleteManifest(const ImageImport& import);

class ImageDisk {
 public:
  static Result<std::unique_ptr<ImageDisk>> Open(const ImageStoreOptions& options);

  Result<ImportedImage> Import(const ImageImport& import, const UniqueFd& archive);
  Result<> Remove(const std::string& name, uint64_t version);
  Result<ListingDifferences> Verify(const ImageManifest& image) const;

  // By name, then version.
  using Versions = std::map<std::string, std::map<uint64_t, ImageManifest>>;
  const Versions& versions() const { return versions_; }

  // From any thread: ends a running worker and refuses to start another.
  void Stop();

 private:
  explicit ImageDisk(const ImageStoreOptions& options) : options_(options) {}

  struct Root {
    std::string hex;
    uint64_t bytes = 0;
    uint64_t files = 0;
    std::string source_digest;
    std::string environment;  // of an OCI archive, as it says (archive_environment.h)
    std::vector<std::string> notes;
  };
  Result<> Prepare();
  Result<> Recover();
  Result<> RecoverName(const std::string& name);
  Result<> DropUnusedRoots();
  Result<ImageManifest> Load(const std::string& name, uint64_t version) const;
  Result<StagedFolder> Stage();
  // A root from an archive, in its place.
  Result<Root> MakeRoot(const StagedFolder& staged, const UniqueFd& archive);
  Result<> PlaceRoot(const StagedFolder& staged, const UniqueFd& tree, const TreeListing& listing,
                     const std::string& hex);
  Result<> PlaceVersion(const StagedFolder& staged, const ImageImport& import,
                        const std::string& manifest, const v1::Image& record);
  Result<> CheckInterpreter(ImageManifest& image, const std::string& root_hex) const;
  Result<> MoveAway(int parent, const std::string& name);
  std::string RootPath(const std::string& hex) const;
  void Report(const std::string& line) const;

  ImageStoreOptions options_;
  std::string directory_;
  UniqueFd roots_;
  UniqueFd names_;
  UniqueFd staging_;
  UniqueFd stop_;
  std::atomic<bool> stopping_ = false;
  uint64_t next_staged_ = 1;
  bool damaged_ = false;  // some version could not be read: what it needs is not known
  Versions versions_;
};

}  // namespace spore
