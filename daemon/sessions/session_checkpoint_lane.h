// The store of checkpoints of sessions, for the event loop: what blocks is done on lanes of its
// own. Dumping and restoring themselves are not here.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "daemon/checkpoints/checkpoint_files.h"
#include "daemon/config/config.h"
#include "daemon/loop/event_loop.h"
#include "daemon/sessions/session_checkpoint_store.h"
#include "sandbox/sys/result.h"
#include "spore/v1/session_checkpoints.pb.h"

namespace spore {

class SessionCheckpointLane {
 public:
  struct Options {
    std::string state_dir;
    std::string criu;            // the configured /usr of CRIU, or nothing
    std::string host_directory;  // the language hosts' files
    SessionCheckpointStore::Limits limits;
  };
  // What the worker is given: a tmpfs with `images`, which belongs to the uid that CRIU has, and
  // root's `files` (zygote/checkpoint_protocol.h). Its root is root's, 0711; `files` 0700.
  struct Material {
    v1::SessionCheckpointRecord record;  // what it is restored from, or is to become
    CheckpointFiles files;
    UniqueFd criu;
    UniqueFd again;  // another mount of the files, of those that are handed over; or none
  };
  struct DumpOrder {
    std::string name;        // empty: of the session's id
    std::string session;     // id
    uid_t owner = 0;         // the session's
    uid_t uid = 0;           // of its processes, on the host
    uint64_t max_bytes = 0;  // of the tmpfs
  };
  using MaterialPtr = std::shared_ptr<Material>;
  using Prepared = std::function<void(Result<MaterialPtr>)>;
  using Found = std::function<void(Result<v1::SessionCheckpointRecord>)>;
  using Listed = std::function<void(std::vector<v1::SessionCheckpointRecord>)>;
  using Images = std::map<std::string, ImageManifest>;

  // Blocks; before the loop runs.
  static Result<std::unique_ptr<SessionCheckpointLane>> Open(EventLoop& loop,
                                                             const Options& options);

  // Before the session is touched. Reserves the name; sets name, owner_uid, session and image of
  // the checkpoint and made_on. `images` is empty, and there are `files`, `files/tmp` and
  // `files/shm`.
  void PrepareDump(const DumpOrder& order, const ImageManifest& image, Prepared done);
  // Keeps what was dumped; the record has everything that the store does not set.
  void Keep(const MaterialPtr& material, Found done);
  // It comes to nothing: the name is free again.
  void Abandon(const MaterialPtr& material);

  // Files that are never on disk. Empty ones, to be dumped into by who has this uid.
  void PrepareCopy(uid_t uid, uint64_t max_bytes, Prepared done);
  // What was dumped into them, once more, for another uid; and themselves, for the last one.
  void CopyFor(const MaterialPtr& material, uid_t uid, Prepared done);
  void HandOver(const MaterialPtr& material, uid_t uid, Prepared done);

  // As SessionCheckpointStore::Find; `unusable` says why it cannot be restored here.
  void Find(uid_t peer, const std::string& name, const Images& images, Found done);
  // Of one that was found: unpacked, with `images` for `uid`, the host's view of it. Its ties are
  // compared again.
  void PrepareRestore(const v1::SessionCheckpointRecord& record, const ImageManifest& image,
                      uid_t uid, Prepared done);
  // The peer's own; root's are all. With `unusable`.
  void List(uid_t peer, const Images& images, Listed done);
  void Remove(uid_t peer, const std::string& name, Found done);

 private:
  SessionCheckpointLane(EventLoop& loop, Options options,
                        std::unique_ptr<SessionCheckpointStore> store);
  template <typename T>
  static void Submit(BlockingLane& lane, std::function<Result<T>()> work,
                     std::function<void(Result<T>)> done);

  Options options_;
  std::shared_ptr<SessionCheckpointStore> store_;  // the lanes'
  // Nobody's large session keeps others from their lists, or from coming back. Joined before all
  // above.
  std::unique_ptr<BlockingLane> lane_, packing_, unpacking_;
};

}  // namespace spore
