// Checkpoints of sessions on disk: STATE-DIR/session-checkpoints/OWNER-UID/NAME/ with
// checkpoint.json (v1.SessionCheckpointRecord) and session.zst (session_archive.h). A half-made
// one has a name of its own, and goes at the next start.
//
// Everything here blocks, and may be used from several threads, but one Keep at a time: they share
// what is left of the bytes. What is the tenant's is in the archive; the record is spored's own.
// Fault points, in order:
//   session-checkpoint-packed  session-checkpoint-staged  session-checkpoint-renamed
//   session-restore-verified
#pragma once

#include <sys/types.h>

#include <compare>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "sandbox/sys/result.h"
#include "sandbox/sys/unique_fd.h"
#include "spore/v1/session_checkpoints.pb.h"

namespace spore {

// What lists of them are in order of, each another: the newest first.
struct SessionCheckpointKey {
  int64_t before_ms = 0;  // minus the time that it was made
  uid_t owner = 0;
  std::string name;

  static SessionCheckpointKey Of(const v1::SessionCheckpoint& checkpoint);
  // As clients have it, to tell from where on they want a list: kInvalid.
  static Result<SessionCheckpointKey> Parse(const std::string& marker);
  std::string Marker() const;
  auto operator<=>(const SessionCheckpointKey&) const = default;
};

class SessionCheckpointStore {
 public:
  struct Limits {
    uint32_t per_owner = 100;            // of anybody but root
    uint64_t bytes = 20ull << 30;        // of all archives together
    uint64_t owner_bytes = 10ull << 30;  // of those of anybody but root
  };
  // Makes the directory, and removes what a spored that died has left half made.
  static Result<std::unique_ptr<SessionCheckpointStore>> Open(const std::string& state_dir,
                                                              Limits limits);

  // Before the session is held: the name is valid and free, and there is room for one more; it is
  // taken from then on. `name` empty: one is made of the session's id. Returns the name.
  // kInvalid, kExists; kOverloaded, here and below a full disk too.
  Result<std::string> Reserve(uid_t owner, const std::string& name, const std::string& session);
  // What was reserved is not wanted any more. Of one that is kept: does nothing.
  void Release(uid_t owner, const std::string& name);
  // Packs `directory` (zygote/checkpoint_protocol.h) under the reserved name, which
  // record.checkpoint() has, with its owner_uid. Sets id, created_unix_ms, bytes, unpacked_bytes
  // and archive_digest. On disk for good when it returns; after an error there is nothing, and the
  // name is free. kOverloaded: it is larger than what is left of limits.bytes or owner_bytes.
  Result<v1::SessionCheckpointRecord> Keep(v1::SessionCheckpointRecord record, int directory);

  // Of `owner`, or of all, in the order of their keys. Those that cannot be read say so as
  // `unusable`.
  std::vector<v1::SessionCheckpointRecord> List(std::optional<uid_t> owner) const;
  // As `peer` names it: NAME of its own; of root also UID/NAME, and NAME that one other has.
  // kNotFound; kInvalid: several have it; kPrecondition: its record is damaged.
  Result<v1::SessionCheckpointRecord> Find(uid_t peer, const std::string& name) const;
  // Into an empty `directory` of a tmpfs: `images`, whose files then belong to `owner`, and
  // `files`, root's. The archive is verified as a whole before anything of it is read.
  Result<> Unpack(const v1::SessionCheckpointRecord& record, int directory, uid_t owner) const;
  // Also one whose record is damaged. Returns what it was, as far as that is known.
  Result<v1::SessionCheckpointRecord> Remove(uid_t peer, const std::string& name);

 private:
  struct Place {
    uid_t owner = 0;
    std::string name;
  };
  SessionCheckpointStore(UniqueFd root, Limits limits) : root_(std::move(root)), limits_(limits) {}
  Result<Place> Locate(uid_t peer, const std::string& name) const;
  Result<v1::SessionCheckpointRecord> Read(const Place& place) const;
  v1::SessionCheckpointRecord Describe(const Place& place) const;
  Result<> CheckRoom(uid_t owner, int folder) const;
  // Of the bytes, for one owner.
  struct Room {
    uint64_t left = 0;
    uint64_t taken = 0;
    uint64_t limit = 0;
    bool own = false;  // it is the owner's limit that is nearest, not that of all
    const char* setting() const {
      return own ? "limits-per-client.session-checkpoints-bytes" : "session-checkpoints-bytes";
    }
  };
  Room RoomOf(uid_t owner) const;
  struct Taken {
    uint64_t all = 0, owners = 0;
  };
  Taken BytesTaken(uid_t owner) const;
  Result<UniqueFd> FolderOf(uid_t owner) const;
  Result<> RemovePlace(const Place& place);
  Result<v1::SessionCheckpointRecord> Stage(v1::SessionCheckpointRecord record, int directory,
                                            int staged) const;

  UniqueFd root_;
  Limits limits_;
  std::mutex names_;  // held while folders of owners come and go
};

// Why it is no name for a checkpoint of a session, when it is none: kInvalid.
Result<> CheckSessionCheckpointName(const std::string& name);

}  // namespace spore
