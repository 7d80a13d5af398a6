// The host's checkpoints, for the event loop: what blocks is done on a lane of their own, so that
// packing a large zygote keeps no deployment waiting.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "daemon/checkpoints/checkpoint_files.h"
#include "daemon/checkpoints/checkpoint_store.h"
#include "daemon/config/config.h"
#include "daemon/loop/event_loop.h"
#include "sandbox/sys/result.h"
#include "spore/v1/spore.pb.h"

namespace spore {

class Checkpoints {
 public:
  struct Options {
    std::string state_dir;
    std::string criu;            // the configured /usr of CRIU, or nothing
    std::string host_directory;  // the language hosts' files
    uint64_t after_ms = 0;       // one is made by itself after a cold start this long; 0: never
    std::string unpack_program;  // path of spore-unpack
    uid_t unpack_uid = 0;        // an unprivileged uid that nobody else ever has
    uint64_t max_bytes = 0;      // of one that is imported
    bool prefetch = false;       // archives are read ahead, at the start and for a restore
  };
  // What CRIU works with; `checkpoint` is what it is restored from, or is to become.
  struct Material {
    v1::Checkpoint checkpoint;
    CheckpointFiles files;
    UniqueFd criu;
  };
  using MaterialPtr = std::shared_ptr<Material>;
  using Prepared = std::function<void(Result<MaterialPtr>)>;
  using Kept = std::function<void(Result<v1::Checkpoint>)>;
  // As it leaves for another host: what comes before its archive, and that.
  struct Parcel {
    std::string head;
    UniqueFd archive;
    uint64_t archive_bytes = 0;
  };
  using Exported = std::function<void(Result<Parcel>)>;
  using Listed = std::function<void(std::vector<v1::Checkpoint>)>;

  // Blocks; before the loop runs.
  static Result<std::unique_ptr<Checkpoints>> Open(EventLoop& loop, const Options& options);

  ~Checkpoints();

  uint64_t after_ms() const { return options_.after_ms; }
  // Whether the image had any when last looked at.
  bool Has(const std::string& image) const { return images_.contains(image); }

  // Unpacks a checkpoint of the image: the named one, else the newest that can be restored. The
  // error says why there is none, of the newest.
  void PrepareRestore(const ImageManifest& image, uid_t owner, const std::string& id,
                      Prepared done);
  // An empty place to dump to.
  void PrepareDump(const ImageManifest& image, uid_t owner, Prepared done);
  // Keeps what has been dumped to `material`. Ones made by itself replace each other.
  void Keep(const MaterialPtr& material, Kept done);

  // All, the newest first, each with why it cannot be restored here.
  void List(const std::map<std::string, ImageManifest>& images, Listed done);
  void Remove(const std::string& id, std::function<void(Result<>)> done);
  // All of the image, which is being removed.
  void RemoveAllOf(const std::string& image, std::function<void(Result<>)> done);
  void Export(const std::string& id, Exported done);
  // `source`: a file or pipe with what Export and the client have made. `images`: those here.
  void Import(UniqueFd source, bool keep_unusable, std::map<std::string, ImageManifest> images,
              Kept done);
  // It turned out to be no good: it is not used by itself any more.
  void Distrust(const std::string& id, const std::string& reason);

 private:
  Checkpoints(EventLoop& loop, Options options, std::unique_ptr<CheckpointStore> store);
  void Note(const std::vector<v1::Checkpoint>& all);

  Options options_;
  std::shared_ptr<CheckpointStore> store_;  // the lane's
  std::set<std::string> images_;
  std::map<std::string, std::string> distrusted_;  // id and why
  UniqueFd stop_;                                  // readable: an import gives up
  std::unique_ptr<BlockingLane> lane_;             // joined before all above
  std::unique_ptr<BlockingLane> transfers_;        // may wait for a client; no restore waits for it
};

}  // namespace spore
