// Checkpoints on disk: STATE-DIR/checkpoints/IMAGE/ID/ with checkpoint.json, what it is and what it
// is tied to, and memory.tar.zst. A half-made one has a name of its own and goes at the next start.
//
// Everything here blocks. Fault points, in order:
//   checkpoint-received (of one that is imported)
//   checkpoint-packed  checkpoint-staged  checkpoint-renamed
//   restore-verified
#pragma once

#include <sys/types.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "sandbox/sys/result.h"
#include "sandbox/sys/unique_fd.h"
#include "spore/v1/spore.pb.h"

namespace spore {

class CheckpointStore {
 public:
  // Makes the directory, and removes what a spored that died has left half made.
  static Result<std::unique_ptr<CheckpointStore>> Open(const std::string& state_dir);

  // The newest first; those that cannot be read say so as `unusable`.
  std::vector<v1::Checkpoint> List() const;
  // Packs the files of `directory` and completes `checkpoint`. On disk for good when it returns.
  Result<v1::Checkpoint> Keep(v1::Checkpoint checkpoint, int directory);
  // Keeps one that was made elsewhere, under its own id. `receive` is given an empty folder, which
  // goes away again, and returns one in it with the files. kExists when there is one of this id.
  using Receive = std::function<Result<UniqueFd>(int folder)>;
  Result<v1::Checkpoint> Adopt(v1::Checkpoint checkpoint, const Receive& receive);
  // kNotFound when there is none of this id, kPrecondition when its record is damaged.
  Result<v1::Checkpoint> Find(const std::string& id) const;
  // Its archive, for reading, after a look at all of it: it is what its digest says.
  Result<UniqueFd> OpenArchive(const v1::Checkpoint& checkpoint) const;
  // Has the kernel read its archive, which the next restore reads as a whole; does not wait for it.
  void Prefetch(const v1::Checkpoint& checkpoint) const;
  // Into `directory`, for `owner`; verified as a whole before.
  Result<> Unpack(const v1::Checkpoint& checkpoint, int directory, uid_t owner) const;
  Result<> Remove(const v1::Checkpoint& checkpoint);

 private:
  explicit CheckpointStore(UniqueFd root) : root_(std::move(root)) {}
  Result<v1::Checkpoint> Stage(v1::Checkpoint checkpoint, int directory, int staged);
  Result<UniqueFd> Archive(const v1::Checkpoint& checkpoint) const;
  Result<> Place(const std::string& staged_name, const v1::Checkpoint& checkpoint);

  UniqueFd root_;
};

}  // namespace spore
