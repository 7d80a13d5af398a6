#include "daemon/functions/function_store_disk.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "daemon/common/directory_tree.h"
#include "daemon/common/unix_time.h"
#include "sandbox/sys/fault_point.h"
#include "sandbox/sys/printable.h"

namespace spore {
namespace {

// Up to here each file is synced by itself; beyond, one syncfs of the whole file system is cheaper.
constexpr uint64_t kSyncEach = 64;
constexpr char kCurrent[] = "current";
constexpr char kRecord[] = "function.pb";

std::string VersionName(uint64_t version) {
  return fmt::format("v{}", version);
}

}  // namespace

Result<> WriteRecord(int folder, const std::string& name, const std::string& bytes) {
  UniqueFd file(openat(folder, name.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600));
  if (!file) return SysError("create", name);
  for (size_t done = 0; done < bytes.size();) {
    ssize_t n = write(file.get(), bytes.data() + done, bytes.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return SysError("write", name);
    done += static_cast<size_t>(n);
  }
  if (fsync(file.get()) != 0) return SysError("fsync", name);
  return {};
}

Result<StagedFolder> FunctionDisk::Stage() {
  std::string name = std::to_string(next_staged_++);
  SPORE_ASSIGN(UniqueFd folder, MakeDirectory(staging_.get(), name, 0700));
  return StagedFolder(staging_.get(), name, std::move(folder));
}

FunctionVersion FunctionDisk::Describe(const v1::Function& function) const {
  return {function, fmt::format("{}/functions/{}/{}/code", options_.state_dir, function.name(),
                                VersionName(function.version()))};
}

void FunctionDisk::Report(const std::string& line) const {
  if (options_.report) options_.report(line);
}

void FunctionDisk::Stop() {
  (void)eventfd_write(stop_.get(), 1);
}

Result<> FunctionDisk::FillFromArchive(int code, const std::string& step, const UniqueFd& archive,
                                       v1::Function* function, bool* small) {
  if (fchown(code, options_.unpack_uid, options_.unpack_uid) != 0) {
    return SysError("chown to the unpack uid", std::to_string(options_.unpack_uid));
  }
  const UnpackLimits& limits = options_.unpack;
  SPORE_ASSIGN(Unpacked unpacked, RunUnpack({.program = options_.unpack_program,
                                             .uid = options_.unpack_uid,
                                             .archive = archive.get(),
                                             .directory = code,
                                             .stop = stop_.get(),
                                             .limits = limits}));
  SPORE_TRY(FaultPoint(step + "-unpacked"));
  *small = unpacked.files <= kSyncEach;
  SPORE_ASSIGN(TreeFacts facts, TakeOverTree(code, {.owner = options_.unpack_uid,
                                                    .max_bytes = limits.unpacked_bytes,
                                                    .max_entries = limits.files,
                                                    .max_depth = limits.depth,
                                                    .sync = *small}));
  function->set_code_digest(unpacked.digest);
  function->set_code_bytes(facts.bytes);
  return {};
}

Result<> FunctionDisk::BuildVersion(const StagedFolder& staged, const std::string& step,
                                    const UniqueFd& archive, const v1::Function* old,
                                    v1::Function* function) {
  std::string name = VersionName(function->version());
  SPORE_ASSIGN(UniqueFd folder, MakeDirectory(staged.folder(), name, 0700));
  SPORE_ASSIGN(UniqueFd code, MakeDirectory(folder.get(), "code", 0700));
  SPORE_TRY(FaultPoint(step + "-staged"));
  bool small = true;
  if (archive) {
    SPORE_TRY(FillFromArchive(code.get(), step, archive, function, &small));
  } else {
    std::string path = Describe(*old).code_path;
    SPORE_ASSIGN(UniqueFd source, OpenDirectory(AT_FDCWD, path));
    if (fchmod(code.get(), 0755) != 0) return SysError("chmod", path);
    SPORE_TRY(LinkTree(source.get(), code.get(), true));
    function->set_code_digest(old->code_digest());
    function->set_code_bytes(old->code_bytes());
  }
  function->set_instances(0);
  SPORE_TRY(WriteRecord(folder.get(), kRecord, function->SerializeAsString()));
  if (!small && syncfs(folder.get()) != 0) return SysError("syncfs", name);
  SPORE_TRY(SyncDirectory(folder.get(), name));
  return FaultPoint(step + "-synced");
}

Result<FunctionVersion> FunctionDisk::Deploy(v1::Function function, const UniqueFd& archive) {
  const std::string name = function.name();
  SPORE_TRY(ValidateFunctionName(name));
  if (auto found = damaged_.find(name); found != damaged_.end()) {
    return MakeError(ErrorKind::kPrecondition,
                     fmt::format("function {} is damaged: {}", name, found->second),
                     "remove it first");
  }
  auto taken = [&] { return MakeError(ErrorKind::kExists, "function " + name + " exists"); };
  if (current_.contains(name)) return taken();
  SPORE_TRY(CheckArchive(archive.get(), options_.unpack.archive_bytes));
  function.set_version(1);
  if (function.created_unix_ms() == 0) function.set_created_unix_ms(NowUnixMs());
  if (function.updated_unix_ms() == 0) function.set_updated_unix_ms(function.created_unix_ms());
  SPORE_ASSIGN(StagedFolder staged, Stage());
  SPORE_TRY(BuildVersion(staged, "deploy", archive, nullptr, &function));
  if (symlinkat(VersionName(1).c_str(), staged.folder(), kCurrent) != 0) {
    return SysError("make link", kCurrent);
  }
  SPORE_TRY(SyncDirectory(staged.folder(), staged.name()));
  // The whole function appears at once.
  if (renameat2(staging_.get(), staged.name().c_str(), functions_.get(), name.c_str(),
                RENAME_NOREPLACE) != 0) {
    if (errno == EEXIST) return taken();
    return SysError("rename into place", name);
  }
  auto durable = FaultPoint("deploy-renamed");
  if (durable) durable = SyncDirectory(functions_.get(), "functions");
  if (!durable) {
    // Back below the staged name, where its owner removes it.
    if (renameat2(functions_.get(), name.c_str(), staging_.get(), staged.name().c_str(),
                  RENAME_NOREPLACE) != 0) {
      return SysError("take back", name, durable.error().Message());
    }
    return tl::unexpected(std::move(durable).error());
  }
  current_[name] = function;
  return Describe(function);
}

// Replaces `current` in a function's folder by one rename, and syncs the folder.
Result<> FunctionDisk::PointTo(const StagedFolder& staged, int folder, const std::string& version) {
  (void)unlinkat(staged.folder(), kCurrent, 0);
  if (symlinkat(version.c_str(), staged.folder(), kCurrent) != 0) {
    return SysError("make link", kCurrent);
  }
  if (renameat(staged.folder(), kCurrent, folder, kCurrent) != 0) {
    return SysError("rename into place", kCurrent);
  }
  return SyncDirectory(folder, version);
}

Result<FunctionVersion> FunctionDisk::Update(v1::Function function, const UniqueFd& archive) {
  const std::string name = function.name();
  auto found = current_.find(name);
  if (found == current_.end()) return MakeError(ErrorKind::kNotFound, "no function " + name);
  const v1::Function& old = found->second;
  if (archive) SPORE_TRY(CheckArchive(archive.get(), options_.unpack.archive_bytes));
  if (!function.revision_id().empty() && function.revision_id() != RevisionOf(name)) {
    return MakeError(
        ErrorKind::kPrecondition,
        fmt::format("revision_id: {}, but function {} has {}: it was changed meanwhile",
                    Printable(function.revision_id()), name, RevisionOf(name)));
  }
  function.clear_revision_id();
  function.set_version(NextVersion(old));
  function.set_created_unix_ms(old.created_unix_ms());
  if (function.updated_unix_ms() <= old.updated_unix_ms()) {
    function.set_updated_unix_ms(NowUnixMs());
  }
  SPORE_ASSIGN(UniqueFd folder, OpenDirectory(functions_.get(), name));
  SPORE_ASSIGN(StagedFolder staged, Stage());
  SPORE_TRY(BuildVersion(staged, "update", archive, &old, &function));
  std::string version = VersionName(function.version());
  // Left by an update that failed and could not clean up.
  struct stat info = {};
  if (fstatat(folder.get(), version.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0) {
    SPORE_TRY(MoveAway(folder.get(), version));
  }
  // First the version's folder, which nobody sees yet, then the link to it.
  if (renameat2(staged.folder(), version.c_str(), folder.get(), version.c_str(),
                RENAME_NOREPLACE) != 0) {
    return SysError("rename into place", version);
  }
  auto durable = FaultPoint("update-placed");
  if (durable) durable = SyncDirectory(folder.get(), name);
  if (durable) durable = PointTo(staged, folder.get(), version);
  if (durable) durable = FaultPoint("update-switched");
  if (!durable) {
    auto back = PointTo(staged, folder.get(), VersionName(old.version()));
    if (back) back = MoveAway(folder.get(), version);
    if (!back) return tl::unexpected(std::move(back).error().Wrap("take back " + name));
    return tl::unexpected(std::move(durable).error());
  }
  found->second = function;
  return Describe(function);
}

// Out of sight by one rename, then removed; the rest of a removal that fails waits in staging/.
Result<> FunctionDisk::MoveAway(int parent, const std::string& name) {
  std::string away = std::to_string(next_staged_++);
  if (renameat2(parent, name.c_str(), staging_.get(), away.c_str(), RENAME_NOREPLACE) != 0) {
    return SysError("move away", name);
  }
  SPORE_TRY(SyncDirectory(parent, name));
  (void)RemoveTree(staging_.get(), away);
  return {};
}

Result<> FunctionDisk::Remove(const std::string& name) {
  SPORE_TRY(ValidateFunctionName(name));
  if (!current_.contains(name) && !damaged_.contains(name)) {
    return MakeError(ErrorKind::kNotFound, "no function " + name);
  }
  std::string away = std::to_string(next_staged_++);
  if (renameat2(functions_.get(), name.c_str(), staging_.get(), away.c_str(), RENAME_NOREPLACE) !=
      0) {
    return SysError("move away", name);
  }
  auto durable = FaultPoint("remove-renamed");
  if (durable) durable = SyncDirectory(functions_.get(), "functions");
  if (!durable) {
    if (renameat2(staging_.get(), away.c_str(), functions_.get(), name.c_str(), RENAME_NOREPLACE) !=
        0) {
      return SysError("take back", name, durable.error().Message());
    }
    return durable;
  }
  current_.erase(name);
  beside_.erase(name);
  damaged_.erase(name);
  (void)RemoveTree(staging_.get(), away);
  return {};
}

void FunctionDisk::Retire(const std::string& name, uint64_t version) {
  auto found = current_.find(name);
  if (found == current_.end() || found->second.version() == version) return;
  if (IsKept(name, version)) return;
  auto folder = OpenDirectory(functions_.get(), name);
  if (folder) (void)MoveAway(folder->get(), VersionName(version));
}

}  // namespace spore
