#include "daemon/checkpoints/checkpoint_store.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "daemon/checkpoints/checkpoint_files.h"
#include "daemon/common/directory_tree.h"
#include "daemon/common/json_record.h"
#include "daemon/common/random_id.h"
#include "daemon/common/unix_time.h"
#include "sandbox/sys/fault_point.h"

namespace spore {
namespace {

constexpr char kDirectory[] = "checkpoints";
constexpr char kRecord[] = "checkpoint.json";
constexpr char kArchive[] = "memory.tar.zst";
constexpr char kStagedPrefix[] = ".staged-";
constexpr char kReceived[] = "received";
constexpr size_t kMaxRecord = 64 * 1024;

v1::Checkpoint Describe(int image_folder, const std::string& image, const std::string& id) {
  const auto read = [&]() -> Result<v1::Checkpoint> {
    SPORE_ASSIGN(const UniqueFd folder, OpenDirectory(image_folder, id));
    v1::Checkpoint found;
    SPORE_TRY(ReadJsonRecord(folder.get(), kRecord, kMaxRecord, &found));
    if (found.image() != image || found.id() != id) {
      return MakeError(ErrorKind::kPrecondition, std::string(kRecord) + " is of " + found.image() +
                                                     "/" + found.id() + ", another checkpoint");
    }
    return found;
  };
  auto checkpoint = read();
  if (checkpoint) {
    checkpoint->clear_unusable();
    return std::move(*checkpoint);
  }
  v1::Checkpoint broken;
  broken.set_image(image);
  broken.set_id(id);
  broken.set_unusable(checkpoint.error().Message());
  return broken;
}

CheckpointArchive Expected(const v1::Checkpoint& checkpoint) {
  return {checkpoint.archive_digest(), checkpoint.archive_bytes(), checkpoint.memory_bytes()};
}

}  // namespace

Result<std::unique_ptr<CheckpointStore>> CheckpointStore::Open(const std::string& state_dir) {
  UniqueFd state(open(state_dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!state) return SysError("open", state_dir);
  SPORE_ASSIGN(UniqueFd root, MakeDirectory(state.get(), kDirectory, 0700, true));
  for (const std::string& name : ListFolders(root.get(), true)) {
    if (name.starts_with(kStagedPrefix)) SPORE_TRY(RemoveTree(root.get(), name));
  }
  return std::unique_ptr<CheckpointStore>(new CheckpointStore(std::move(root)));
}

std::vector<v1::Checkpoint> CheckpointStore::List() const {
  std::vector<v1::Checkpoint> all;
  for (const std::string& image : ListFolders(root_.get(), false)) {
    const Result<UniqueFd> folder = OpenDirectory(root_.get(), image);
    if (!folder) continue;
    for (const std::string& id : ListFolders(folder->get(), false))
      all.push_back(Describe(folder->get(), image, id));
  }
  std::sort(all.begin(), all.end(), [](const v1::Checkpoint& a, const v1::Checkpoint& b) {
    return std::pair(b.created_unix_ms(), b.id()) < std::pair(a.created_unix_ms(), a.id());
  });
  return all;
}

Result<v1::Checkpoint> CheckpointStore::Stage(v1::Checkpoint checkpoint, int directory,
                                              int staged) {
  UniqueFd file(openat(staged, kArchive, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600));
  if (!file) return SysError("create", kArchive);
  SPORE_ASSIGN(const CheckpointArchive made, PackCheckpoint(directory, file.get()));
  if (fsync(file.get()) != 0) return SysError("fsync", kArchive);
  SPORE_TRY(FaultPoint("checkpoint-packed"));
  checkpoint.set_archive_bytes(made.bytes);
  checkpoint.set_archive_digest(made.digest);
  checkpoint.set_memory_bytes(made.unpacked_bytes);
  SPORE_TRY(WriteJsonRecord(staged, kRecord, checkpoint, kMaxRecord));
  SPORE_TRY(SyncDirectory(staged, "the new checkpoint"));
  SPORE_TRY(FaultPoint("checkpoint-staged"));
  return checkpoint;
}

// Whole, or not there.
Result<> CheckpointStore::Place(const std::string& staged_name, const v1::Checkpoint& checkpoint) {
  SPORE_ASSIGN(const UniqueFd image, MakeDirectory(root_.get(), checkpoint.image(), 0700, true));
  if (renameat2(root_.get(), staged_name.c_str(), image.get(), checkpoint.id().c_str(),
                RENAME_NOREPLACE) != 0)
    return SysError("rename", staged_name);
  const auto sync = [&]() -> Result<> {
    SPORE_TRY(FaultPoint("checkpoint-renamed"));
    SPORE_TRY(SyncDirectory(image.get(), checkpoint.image()));
    return SyncDirectory(root_.get(), kDirectory);
  };
  auto synced = sync();
  if (!synced) (void)Remove(checkpoint);
  return synced;
}

Result<v1::Checkpoint> CheckpointStore::Keep(v1::Checkpoint checkpoint, int directory) {
  checkpoint.set_id(NewInstanceId());
  checkpoint.set_created_unix_ms(NowUnixMs());
  const std::string staged_name = kStagedPrefix + checkpoint.id();
  SPORE_ASSIGN(const UniqueFd staged, MakeDirectory(root_.get(), staged_name, 0700));
  const auto keep = [&]() -> Result<> {
    SPORE_ASSIGN(checkpoint, Stage(std::move(checkpoint), directory, staged.get()));
    return Place(staged_name, checkpoint);
  };
  if (auto kept = keep(); !kept) {
    (void)RemoveTree(root_.get(), staged_name);
    return tl::unexpected(std::move(kept).error());
  }
  return checkpoint;
}

Result<v1::Checkpoint> CheckpointStore::Adopt(v1::Checkpoint checkpoint, const Receive& receive) {
  if (auto there = Find(checkpoint.id()); there || there.error().kind != ErrorKind::kNotFound) {
    return MakeError(ErrorKind::kExists, "checkpoint " + checkpoint.id() + " is here already",
                     "`spore checkpoint rm` removes it");
  }
  checkpoint.set_imported_unix_ms(NowUnixMs());
  const std::string staged_name = kStagedPrefix + checkpoint.id();
  SPORE_ASSIGN(const UniqueFd staged, MakeDirectory(root_.get(), staged_name, 0700));
  const auto adopt = [&]() -> Result<> {
    SPORE_ASSIGN(UniqueFd received, MakeDirectory(staged.get(), kReceived, 0700));
    SPORE_ASSIGN(UniqueFd files, receive(received.get()));
    SPORE_TRY(FaultPoint("checkpoint-received"));
    SPORE_ASSIGN(checkpoint, Stage(std::move(checkpoint), files.get(), staged.get()));
    SPORE_TRY(RemoveTree(staged.get(), kReceived));
    return Place(staged_name, checkpoint);
  };
  if (auto adopted = adopt(); !adopted) {
    (void)RemoveTree(root_.get(), staged_name);
    return tl::unexpected(std::move(adopted).error());
  }
  return checkpoint;
}

Result<v1::Checkpoint> CheckpointStore::Find(const std::string& id) const {
  for (v1::Checkpoint& checkpoint : List()) {
    if (checkpoint.id() != id) continue;
    if (!checkpoint.unusable().empty()) {
      return MakeError(ErrorKind::kPrecondition, "checkpoint " + id + ": " + checkpoint.unusable());
    }
    return std::move(checkpoint);
  }
  return MakeError(ErrorKind::kNotFound, "no checkpoint \"" + id.substr(0, 64) + "\"",
                   "`spore checkpoint ls` lists them");
}

Result<UniqueFd> CheckpointStore::Archive(const v1::Checkpoint& checkpoint) const {
  SPORE_ASSIGN(const UniqueFd image, OpenDirectory(root_.get(), checkpoint.image()));
  SPORE_ASSIGN(const UniqueFd folder, OpenDirectory(image.get(), checkpoint.id()));
  UniqueFd file(openat(folder.get(), kArchive, O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
  if (!file) return SysError("open", kArchive);
  return file;
}

void CheckpointStore::Prefetch(const v1::Checkpoint& checkpoint) const {
  if (const auto file = Archive(checkpoint))
    (void)posix_fadvise(file->get(), 0, 0, POSIX_FADV_WILLNEED);
}

Result<UniqueFd> CheckpointStore::OpenArchive(const v1::Checkpoint& checkpoint) const {
  SPORE_ASSIGN(UniqueFd file, Archive(checkpoint));
  SPORE_TRY(VerifyCheckpoint(file.get(), Expected(checkpoint)));
  return file;
}

Result<> CheckpointStore::Unpack(const v1::Checkpoint& checkpoint, int directory,
                                 uid_t owner) const {
  SPORE_ASSIGN(const UniqueFd file, Archive(checkpoint));
  SPORE_TRY(UnpackCheckpoint(file.get(), Expected(checkpoint), directory, owner));
  return FaultPoint("restore-verified");
}

Result<> CheckpointStore::Remove(const v1::Checkpoint& checkpoint) {
  Result<UniqueFd> image = OpenDirectory(root_.get(), checkpoint.image());
  if (!image) {
    if (image.error().errno_value == ENOENT) return {};
    return tl::unexpected(std::move(image).error());
  }
  // Under a name that the next start would remove, so that it is never half there.
  const std::string away = kStagedPrefix + checkpoint.id();
  if (renameat(image->get(), checkpoint.id().c_str(), root_.get(), away.c_str()) != 0) {
    if (errno == ENOENT) return {};
    return SysError("rename", checkpoint.id());
  }
  SPORE_TRY(SyncDirectory(image->get(), checkpoint.image()));
  (void)unlinkat(root_.get(), checkpoint.image().c_str(), AT_REMOVEDIR);  // when it was the last
  return RemoveTree(root_.get(), away);
}

}  // namespace spore
