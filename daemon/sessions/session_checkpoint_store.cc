#include "daemon/sessions/session_checkpoint_store.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <utility>

#include "daemon/checkpoints/checkpoint_files.h"
#include "daemon/common/directory_tree.h"
#include "daemon/common/json_record.h"
#include "daemon/common/random_id.h"
#include "daemon/common/unix_time.h"
#include "daemon/sessions/session_archive.h"
#include "sandbox/sys/fault_point.h"

namespace spore {
namespace {

constexpr char kDirectory[] = "session-checkpoints";
constexpr char kRecord[] = "checkpoint.json";
constexpr char kArchive[] = "session.zst";
constexpr char kStagedPrefix[] = ".staged-";
constexpr char kListHint[] = "`spore sandbox checkpoints` lists them";
constexpr char kRoomHint[] = "`spore sandbox checkpoints rm` removes one";
constexpr size_t kMaxRecord = 512 * 1024;
constexpr size_t kMaxName = 64;
constexpr uint32_t kMostTries = 10000;  // of a name that is made

std::optional<uid_t> UidOf(const std::string& text) {
  uid_t uid = 0;
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, uid);
  if (error != std::errc() || rest != end || std::to_string(uid) != text) return std::nullopt;
  return uid;
}

bool Exists(int directory, const std::string& name) {
  return faccessat(directory, name.c_str(), F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

Result<v1::SessionCheckpointRecord> ReadRecord(int folder) {
  v1::SessionCheckpointRecord record;
  SPORE_TRY(ReadJsonRecord(folder, kRecord, kMaxRecord, &record));
  record.mutable_checkpoint()->clear_unusable();
  return record;
}

CheckpointArchive Expected(const v1::SessionCheckpointRecord& record) {
  return {record.archive_digest(), record.checkpoint().bytes(),
          record.checkpoint().unpacked_bytes()};
}

tl::unexpected<Error> NoneOf(const std::string& name) {
  return MakeError(ErrorKind::kNotFound, "no session checkpoint \"" + name.substr(0, 80) + "\"",
                   kListHint);
}

// A disk that is full, or of which the daemon has had its quota, is a limit like those that are
// set.
tl::unexpected<Error> DiskError(Error error) {
  if (error.errno_value == ENOSPC || error.errno_value == EDQUOT) {
    error.kind = ErrorKind::kOverloaded;
    error.hint = "make room on the disk of the daemon's state-dir";
  }
  return tl::unexpected(std::move(error));
}

bool IsName(const std::string& name) {
  const auto plain = [](unsigned char c) { return std::isalnum(c) != 0 || c == '_'; };
  return !name.empty() && name.size() <= kMaxName && plain(static_cast<unsigned char>(name[0])) &&
         std::all_of(name.begin(), name.end(),
                     [&](unsigned char c) { return plain(c) || c == '.' || c == '-'; });
}

}  // namespace

SessionCheckpointKey SessionCheckpointKey::Of(const v1::SessionCheckpoint& checkpoint) {
  return {-checkpoint.created_unix_ms(), checkpoint.owner_uid(), checkpoint.name()};
}

std::string SessionCheckpointKey::Marker() const {
  return std::to_string(-before_ms) + "/" + std::to_string(owner) + "/" + name;
}

Result<SessionCheckpointKey> SessionCheckpointKey::Parse(const std::string& marker) {
  SessionCheckpointKey key;
  const size_t first = marker.find('/');
  const size_t second = first == marker.npos ? first : marker.find('/', first + 1);
  if (second != marker.npos) {
    const auto [rest, error] = std::from_chars(marker.data(), marker.data() + first, key.before_ms);
    const auto owner = UidOf(marker.substr(first + 1, second - first - 1));
    key.name = marker.substr(second + 1);
    key.before_ms = -std::max<int64_t>(key.before_ms, 0);
    if (error == std::errc() && owner) {
      key.owner = *owner;
      if (key.Marker() == marker) return key;
    }
  }
  return MakeError(ErrorKind::kInvalid, "marker: \"" + marker.substr(0, 80) +
                                            "\"; expected the next_marker of an earlier answer");
}

Result<> CheckSessionCheckpointName(const std::string& name) {
  if (IsName(name)) return {};
  return MakeError(ErrorKind::kInvalid, "name: \"" + name.substr(0, 80) +
                                            "\"; expected 1 to 64 characters of [A-Za-z0-9_.-], "
                                            "not \".\" or \"-\" first");
}

Result<std::unique_ptr<SessionCheckpointStore>> SessionCheckpointStore::Open(
    const std::string& state_dir, Limits limits) {
  UniqueFd state(open(state_dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!state) return SysError("open", state_dir);
  SPORE_ASSIGN(UniqueFd root, MakeDirectory(state.get(), kDirectory, 0700, true));
  for (const std::string& owner : ListFolders(root.get(), false)) {
    const Result<UniqueFd> folder = OpenDirectory(root.get(), owner);
    if (!folder) continue;
    for (const std::string& name : ListFolders(folder->get(), true)) {
      if (name.starts_with(kStagedPrefix)) SPORE_TRY(RemoveTree(folder->get(), name));
    }
    (void)unlinkat(root.get(), owner.c_str(), AT_REMOVEDIR);  // when nothing is in it
  }
  return std::unique_ptr<SessionCheckpointStore>(
      new SessionCheckpointStore(std::move(root), limits));
}

Result<UniqueFd> SessionCheckpointStore::FolderOf(uid_t owner) const {
  return OpenDirectory(root_.get(), std::to_string(owner));
}

SessionCheckpointStore::Taken SessionCheckpointStore::BytesTaken(uid_t owner) const {
  Taken taken;
  for (const std::string& whose : ListFolders(root_.get(), false)) {
    uint64_t bytes = 0;
    const Result<UniqueFd> folder = OpenDirectory(root_.get(), whose);
    if (!folder) continue;
    for (const std::string& name : ListFolders(folder->get(), false)) {
      struct stat status {};
      const std::string archive = name + "/" + kArchive;
      if (fstatat(folder->get(), archive.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0)
        bytes += static_cast<uint64_t>(status.st_size);
    }
    taken.all += bytes;
    if (whose == std::to_string(owner)) taken.owners = bytes;
  }
  return taken;
}

SessionCheckpointStore::Room SessionCheckpointStore::RoomOf(uid_t owner) const {
  const auto room = [](uint64_t taken, uint64_t limit, bool own) {
    return Room{taken < limit ? limit - taken : 0, taken, limit, own};
  };
  const Taken taken = BytesTaken(owner);
  const Room all = room(taken.all, limits_.bytes, false);
  if (owner == 0) return all;
  const Room own = room(taken.owners, limits_.owner_bytes, true);
  return own.left < all.left ? own : all;
}

Result<> SessionCheckpointStore::CheckRoom(uid_t owner, int folder) const {
  const size_t there = ListFolders(folder, false).size() + ListFolders(folder, true).size();
  if (owner != 0 && there >= limits_.per_owner) {
    return MakeError(ErrorKind::kOverloaded,
                     "uid " + std::to_string(owner) + " has " + std::to_string(there) +
                         " checkpoints of sessions; the daemon's configuration allows " +
                         std::to_string(limits_.per_owner) + " (session-checkpoints-max)",
                     kRoomHint);
  }
  const Room room = RoomOf(owner);
  if (room.left > 0) return {};
  const std::string whose =
      room.own ? "uid " + std::to_string(owner) + "'s checkpoints" : "checkpoints";
  return MakeError(ErrorKind::kOverloaded,
                   whose + " of sessions take " + std::to_string(room.taken) +
                       " bytes of the disk; the daemon's configuration allows " +
                       std::to_string(room.limit) + " (" + room.setting() + ")",
                   kRoomHint);
}

Result<std::string> SessionCheckpointStore::Reserve(uid_t owner, const std::string& name,
                                                    const std::string& session) {
  if (!name.empty()) SPORE_TRY(CheckSessionCheckpointName(name));
  const std::string whose = std::to_string(owner);
  const std::lock_guard lock(names_);
  const auto reserve = [&]() -> Result<std::string> {
    SPORE_ASSIGN(const UniqueFd folder, MakeDirectory(root_.get(), whose, 0700, true));
    SPORE_TRY(CheckRoom(owner, folder.get()));
    const auto is_free = [&](const std::string& word) {
      return !Exists(folder.get(), word) && !Exists(folder.get(), kStagedPrefix + word);
    };
    std::string chosen = name.empty() ? session : name;
    for (uint32_t i = 2; name.empty() && !is_free(chosen) && i < kMostTries; ++i)
      chosen = session + "-" + std::to_string(i);
    if (!is_free(chosen)) {
      return MakeError(ErrorKind::kExists,
                       "there is a session checkpoint \"" + chosen + "\" already",
                       "`spore sandbox checkpoints rm` removes it");
    }
    SPORE_TRY(MakeDirectory(folder.get(), kStagedPrefix + chosen, 0700));
    return chosen;
  };
  auto reserved = reserve();
  if (reserved) return reserved;
  (void)unlinkat(root_.get(), whose.c_str(), AT_REMOVEDIR);
  return DiskError(std::move(reserved).error());
}

void SessionCheckpointStore::Release(uid_t owner, const std::string& name) {
  const Result<UniqueFd> folder = FolderOf(owner);
  if (!folder || !IsName(name)) return;
  (void)RemoveTree(folder->get(), kStagedPrefix + name);
  const std::lock_guard lock(names_);
  (void)unlinkat(root_.get(), std::to_string(owner).c_str(), AT_REMOVEDIR);
}

Result<v1::SessionCheckpointRecord> SessionCheckpointStore::Stage(
    v1::SessionCheckpointRecord record, int directory, int staged) const {
  UniqueFd file(openat(staged, kArchive, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600));
  if (!file) return SysError("create", kArchive);
  const Room room = RoomOf(record.checkpoint().owner_uid());
  auto made = PackSession(directory, file.get(), room.left);
  if (!made && made.error().kind == ErrorKind::kOverloaded) {
    made.error().hint = std::string(room.setting()) + " of the daemon's configuration limits " +
                        (room.own ? "those of one user; " : "all of them; ") + kRoomHint;
  }
  if (!made) return tl::unexpected(std::move(made).error());
  if (fsync(file.get()) != 0) return SysError("fsync", kArchive);
  SPORE_TRY(FaultPoint("session-checkpoint-packed"));
  record.mutable_checkpoint()->set_bytes(made->bytes);
  record.mutable_checkpoint()->set_unpacked_bytes(made->unpacked_bytes);
  record.set_archive_digest(made->digest);
  SPORE_TRY(WriteJsonRecord(staged, kRecord, record, kMaxRecord));
  SPORE_TRY(SyncDirectory(staged, "the new checkpoint"));
  SPORE_TRY(FaultPoint("session-checkpoint-staged"));
  return record;
}

Result<v1::SessionCheckpointRecord> SessionCheckpointStore::Keep(v1::SessionCheckpointRecord record,
                                                                 int directory) {
  v1::SessionCheckpoint* const checkpoint = record.mutable_checkpoint();
  const std::string name = checkpoint->name();
  const uid_t owner = checkpoint->owner_uid();
  checkpoint->set_id(NewInstanceId());
  checkpoint->set_created_unix_ms(NowUnixMs());
  const auto keep = [&]() -> Result<v1::SessionCheckpointRecord> {
    SPORE_ASSIGN(const UniqueFd folder, FolderOf(owner));
    const std::string staged_name = kStagedPrefix + name;
    SPORE_ASSIGN(const UniqueFd staged, OpenDirectory(folder.get(), staged_name));
    SPORE_ASSIGN(v1::SessionCheckpointRecord made, Stage(record, directory, staged.get()));
    if (renameat2(folder.get(), staged_name.c_str(), folder.get(), name.c_str(),
                  RENAME_NOREPLACE) != 0)
      return SysError("rename", staged_name);
    const auto sync = [&]() -> Result<> {
      SPORE_TRY(FaultPoint("session-checkpoint-renamed"));
      SPORE_TRY(SyncDirectory(folder.get(), std::to_string(owner)));
      return SyncDirectory(root_.get(), kDirectory);
    };
    if (auto synced = sync(); !synced) {
      (void)RemovePlace({owner, name});
      return tl::unexpected(std::move(synced).error());
    }
    return made;
  };
  auto kept = keep();
  if (kept) return kept;
  Release(owner, name);
  return DiskError(std::move(kept).error());
}

Result<v1::SessionCheckpointRecord> SessionCheckpointStore::Read(const Place& place) const {
  SPORE_ASSIGN(const UniqueFd owner, FolderOf(place.owner));
  SPORE_ASSIGN(const UniqueFd folder, OpenDirectory(owner.get(), place.name));
  SPORE_ASSIGN(v1::SessionCheckpointRecord record, ReadRecord(folder.get()));
  const v1::SessionCheckpoint& found = record.checkpoint();
  if (found.name() != place.name || found.owner_uid() != place.owner) {
    return MakeError(ErrorKind::kPrecondition, std::string(kRecord) + " is of uid " +
                                                   std::to_string(found.owner_uid()) + "'s \"" +
                                                   found.name() + "\", another checkpoint");
  }
  return record;
}

v1::SessionCheckpointRecord SessionCheckpointStore::Describe(const Place& place) const {
  auto record = Read(place);
  if (record) return std::move(*record);
  v1::SessionCheckpointRecord broken;
  broken.mutable_checkpoint()->set_name(place.name);
  broken.mutable_checkpoint()->set_owner_uid(place.owner);
  broken.mutable_checkpoint()->set_unusable(record.error().Message());
  return broken;
}

std::vector<v1::SessionCheckpointRecord> SessionCheckpointStore::List(
    std::optional<uid_t> owner) const {
  std::vector<v1::SessionCheckpointRecord> all;
  for (const std::string& whose : ListFolders(root_.get(), false)) {
    const auto uid = UidOf(whose);
    if (!uid || (owner && *owner != *uid)) continue;
    const Result<UniqueFd> folder = OpenDirectory(root_.get(), whose);
    if (!folder) continue;
    for (const std::string& name : ListFolders(folder->get(), false))
      all.push_back(Describe({*uid, name}));
  }
  std::sort(all.begin(), all.end(), [](const auto& a, const auto& b) {
    return SessionCheckpointKey::Of(a.checkpoint()) < SessionCheckpointKey::Of(b.checkpoint());
  });
  return all;
}

Result<SessionCheckpointStore::Place> SessionCheckpointStore::Locate(
    uid_t peer, const std::string& name) const {
  Place place{peer, name};
  const size_t slash = name.find('/');
  if (slash != name.npos) {
    const auto owner = UidOf(name.substr(0, slash));
    if (!owner || (peer != 0 && *owner != peer)) return NoneOf(name);
    place = {*owner, name.substr(slash + 1)};
  }
  if (!IsName(place.name)) return NoneOf(name);
  const auto is_there = [&](uid_t owner) {
    const Result<UniqueFd> folder = FolderOf(owner);
    return folder && Exists(folder->get(), place.name);
  };
  if (is_there(place.owner)) return place;
  if (peer != 0 || slash != name.npos) return NoneOf(name);
  std::vector<uid_t> owners;
  for (const std::string& whose : ListFolders(root_.get(), false)) {
    const auto uid = UidOf(whose);
    if (uid && is_there(*uid)) owners.push_back(*uid);
  }
  if (owners.empty()) return NoneOf(name);
  if (owners.size() > 1) {
    std::string all;
    for (const uid_t owner : owners)
      all += (all.empty() ? "" : ", ") + std::to_string(owner) + "/" + name;
    return MakeError(ErrorKind::kInvalid, "name: \"" + name + "\" is that of several: " + all,
                     "write one of these");
  }
  place.owner = owners.front();
  return place;
}

Result<v1::SessionCheckpointRecord> SessionCheckpointStore::Find(uid_t peer,
                                                                 const std::string& name) const {
  SPORE_ASSIGN(const Place place, Locate(peer, name));
  auto record = Read(place);
  if (!record) {
    return MakeError(ErrorKind::kPrecondition,
                     "session checkpoint \"" + place.name + "\": " + record.error().Message());
  }
  return record;
}

Result<> SessionCheckpointStore::Unpack(const v1::SessionCheckpointRecord& record, int directory,
                                        uid_t owner) const {
  SPORE_ASSIGN(const UniqueFd whose, FolderOf(record.checkpoint().owner_uid()));
  SPORE_ASSIGN(const UniqueFd folder, OpenDirectory(whose.get(), record.checkpoint().name()));
  const UniqueFd file(openat(folder.get(), kArchive, O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
  if (!file) return SysError("open", kArchive);
  SPORE_TRY(UnpackSession(file.get(), Expected(record), directory, owner));
  return FaultPoint("session-restore-verified");
}

Result<> SessionCheckpointStore::RemovePlace(const Place& place) {
  SPORE_ASSIGN(const UniqueFd folder, FolderOf(place.owner));
  // Under a name that the next start would remove, so that it is never half there. Not that of
  // one of the same name which is being made.
  const std::string away = kStagedPrefix + std::string("gone.") + NewInstanceId();
  if (renameat(folder.get(), place.name.c_str(), folder.get(), away.c_str()) != 0)
    return SysError("rename", place.name);
  SPORE_TRY(SyncDirectory(folder.get(), std::to_string(place.owner)));
  SPORE_TRY(RemoveTree(folder.get(), away));
  const std::lock_guard lock(names_);
  (void)unlinkat(root_.get(), std::to_string(place.owner).c_str(), AT_REMOVEDIR);
  return {};
}

Result<v1::SessionCheckpointRecord> SessionCheckpointStore::Remove(uid_t peer,
                                                                   const std::string& name) {
  SPORE_ASSIGN(const Place place, Locate(peer, name));
  v1::SessionCheckpointRecord record = Describe(place);
  SPORE_TRY(RemovePlace(place));
  return record;
}

}  // namespace spore
