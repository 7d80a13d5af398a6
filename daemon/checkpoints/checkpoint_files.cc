#include "daemon/checkpoints/checkpoint_files.h"

#include <archive_entry.h>
#include <dirent.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <set>
#include <vector>

#include "daemon/functions/archive_output.h"

namespace spore {
namespace {

// What scripts/quickstart brings, the package spore-criu, and the host's own.
constexpr const char* kCriuPlaces[] = {"/usr/local/lib/spore/criu/usr", "/usr/lib/spore/criu/usr",
                                       "/usr"};
constexpr size_t kChunk = 1u << 20;
constexpr size_t kMaxFiles = 1000;
constexpr size_t kMaxName = 128;

using Entry = std::unique_ptr<archive_entry, decltype(&archive_entry_free)>;

bool IsPlainName(const std::string& name) {
  return !name.empty() && name.size() <= kMaxName && name[0] != '.' &&
         std::all_of(name.begin(), name.end(), [](unsigned char c) {
           return std::isalnum(c) != 0 || c == '-' || c == '_' || c == '.';
         });
}

// What is there was made in the image: names, kinds and number are checked.
Result<std::set<std::string>> ListFiles(int directory) {
  SPORE_ASSIGN(const std::vector<std::string> listed, ListNames(directory));
  std::set<std::string> names;
  for (const std::string& name : listed) {
    if (!IsPlainName(name) || names.size() == kMaxFiles)
      return MakeError(ErrorKind::kInternal, "the dump holds files that CRIU does not make");
    names.insert(name);
  }
  if (!names.contains("inventory.img"))
    return MakeError(ErrorKind::kInternal, "the dump is not whole: it has no inventory");
  return names;
}

Result<> PackFile(archive* packed, int directory, const std::string& name, uint64_t* total) {
  UniqueFd file(openat(directory, name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (!file) return SysError("open", name);
  struct stat status {};
  if (fstat(file.get(), &status) != 0) return SysError("fstat", name);
  if (!S_ISREG(status.st_mode))
    return MakeError(ErrorKind::kInternal, "the dump holds what is no file: " + name);
  const Entry entry(archive_entry_new(), &archive_entry_free);
  archive_entry_set_pathname(entry.get(), name.c_str());
  archive_entry_set_filetype(entry.get(), AE_IFREG);
  archive_entry_set_perm(entry.get(), 0600);
  archive_entry_set_size(entry.get(), status.st_size);
  if (archive_write_header(packed, entry.get()) != ARCHIVE_OK)
    return ArchiveError(packed, "pack", name);
  std::vector<char> buffer(kChunk);
  auto left = static_cast<uint64_t>(status.st_size);
  *total += left;
  while (left > 0) {
    const ssize_t n = read(file.get(), buffer.data(), std::min<uint64_t>(left, buffer.size()));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return SysError("read", name);
    if (n == 0) return MakeError(ErrorKind::kInternal, "the dump changes while it is packed");
    if (archive_write_data(packed, buffer.data(), static_cast<size_t>(n)) != n)
      return ArchiveError(packed, "pack", name);
    left -= static_cast<uint64_t>(n);
  }
  return {};
}

Result<> UnpackFile(archive* packed, archive_entry* entry, int directory, uid_t owner) {
  const char* path = archive_entry_pathname(entry);
  const std::string name = path == nullptr ? "" : path;
  if (!IsPlainName(name) || archive_entry_filetype(entry) != AE_IFREG ||
      archive_entry_hardlink(entry) != nullptr) {
    return MakeError(ErrorKind::kPrecondition, "its archive holds what no checkpoint does");
  }
  UniqueFd file(
      openat(directory, name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!file) return SysError("create", name);
  if (fchown(file.get(), owner, owner) != 0) return SysError("chown", name);
  if (archive_read_data_into_fd(packed, file.get()) != ARCHIVE_OK)
    return ArchiveError(packed, "unpack", name);
  return {};
}

}  // namespace

Result<std::vector<std::string>> ListNames(int directory) {
  UniqueFd copy(openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!copy) return SysError("open a folder");
  DIR* stream = fdopendir(copy.get());
  if (stream == nullptr) return SysError("list a folder");
  (void)copy.Release();
  std::vector<std::string> names;
  while (const dirent* entry = readdir(stream)) {
    const std::string name = entry->d_name;
    if (name != "." && name != "..") names.push_back(name);
  }
  closedir(stream);
  return names;
}

std::vector<std::string> ListFolders(int directory, bool hidden) {
  std::vector<std::string> names;
  const auto listed = ListNames(directory);
  if (!listed) return names;
  for (const std::string& name : *listed)
    if ((name[0] == '.') == hidden) names.push_back(name);
  return names;
}

Result<CheckpointFiles> MakeCheckpointFiles(uid_t owner, uint64_t bytes) {
  UniqueFd context(fsopen("tmpfs", FSOPEN_CLOEXEC));
  if (!context) return SysError("fsopen", "tmpfs");
  const std::string size = std::to_string(bytes);
  const std::string uid = std::to_string(owner);
  const std::pair<const char*, const char*> settings[] = {
      {"size", size.c_str()}, {"mode", "0700"}, {"uid", uid.c_str()}, {"gid", uid.c_str()}};
  for (const auto& [key, value] : settings) {
    if (fsconfig(context.get(), FSCONFIG_SET_STRING, key, value, 0) != 0)
      return SysError("fsconfig tmpfs", key);
  }
  if (fsconfig(context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) != 0)
    return SysError("make a tmpfs");
  constexpr unsigned kAttributes = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
  CheckpointFiles files;
  files.mount = UniqueFd(fsmount(context.get(), FSMOUNT_CLOEXEC, kAttributes));
  if (!files.mount) return SysError("fsmount", "tmpfs");
  const int root = files.mount.get();
  files.directory = UniqueFd(openat(root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!files.directory) return SysError("open", "tmpfs");
  return files;
}

Result<UniqueFd> OpenCriu(const std::string& configured) {
  const auto has = [](const std::string& usr) {
    return access((usr + "/sbin/criu").c_str(), X_OK) == 0;
  };
  std::string usr = configured;
  if (usr.empty()) {
    const auto* found = std::find_if(std::begin(kCriuPlaces), std::end(kCriuPlaces), has);
    if (found != std::end(kCriuPlaces)) usr = *found;
  }
  if (usr.empty() || !has(usr)) {
    return MakeError(
        ErrorKind::kPrecondition,
        "no CRIU: " + (usr.empty() ? std::string(kCriuPlaces[0]) : usr) + "/sbin/criu is not there",
        "the package criu (4.1 or later) or spore-criu has one, and scripts/quickstart brings one; "
        "`criu` of spore.toml(5) says where it is");
  }
  UniqueFd tree(open_tree(AT_FDCWD, usr.c_str(), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC));
  if (!tree) return SysError("open_tree", usr);
  mount_attr attributes{};
  attributes.attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;
  attributes.propagation = MS_PRIVATE;
  if (mount_setattr(tree.get(), "", AT_EMPTY_PATH, &attributes, sizeof attributes) != 0)
    return SysError("mount_setattr", usr);
  return tree;
}

Result<CheckpointArchive> PackCheckpoint(int directory, int file) {
  SPORE_ASSIGN(const std::set<std::string> names, ListFiles(directory));
  ArchiveOutput output(file);
  const ArchiveWriter packed(archive_write_new(), &archive_write_free);
  archive_write_set_format_pax_restricted(packed.get());
  SPORE_TRY(output.OpenIn(packed.get()));
  CheckpointArchive made;
  for (const std::string& name : names)
    SPORE_TRY(PackFile(packed.get(), directory, name, &made.unpacked_bytes));
  if (archive_write_close(packed.get()) != ARCHIVE_OK)
    return ArchiveError(packed.get(), "finish", "the checkpoint's archive");
  made.digest = output.Digest();
  made.bytes = output.bytes();
  return made;
}

Result<> VerifyCheckpoint(int file, const CheckpointArchive& expected) {
  Sha256 digest;
  std::vector<char> buffer(kChunk);
  uint64_t bytes = 0;
  if (lseek(file, 0, SEEK_SET) < 0) return SysError("seek in the checkpoint's archive");
  (void)posix_fadvise(file, 0, 0, POSIX_FADV_SEQUENTIAL);
  for (;;) {
    const ssize_t n = read(file, buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return SysError("read the checkpoint's archive");
    if (n == 0) break;
    digest.Add(buffer.data(), static_cast<size_t>(n));
    bytes += static_cast<uint64_t>(n);
  }
  if (bytes != expected.bytes) {
    return MakeError(ErrorKind::kPrecondition,
                     "its archive has " + std::to_string(bytes) + " bytes where " +
                         std::to_string(expected.bytes) + " are expected");
  }
  if (digest.Text() != expected.digest)
    return MakeError(ErrorKind::kPrecondition,
                     "its archive is not what it was: the digest differs");
  if (lseek(file, 0, SEEK_SET) < 0) return SysError("seek in the checkpoint's archive");
  return {};
}

Result<> UnpackCheckpoint(int file, const CheckpointArchive& expected, int directory, uid_t owner) {
  SPORE_TRY(VerifyCheckpoint(file, expected));
  const ArchiveReader packed(archive_read_new(), &archive_read_free);
  archive_read_support_filter_zstd(packed.get());
  archive_read_support_format_tar(packed.get());
  if (archive_read_open_fd(packed.get(), file, kChunk) != ARCHIVE_OK)
    return ArchiveError(packed.get(), "read", "the checkpoint's archive");
  for (;;) {
    archive_entry* entry = nullptr;
    const int result = archive_read_next_header(packed.get(), &entry);
    if (result == ARCHIVE_EOF) return {};
    if (result != ARCHIVE_OK) return ArchiveError(packed.get(), "read", "the checkpoint's archive");
    SPORE_TRY(UnpackFile(packed.get(), entry, directory, owner));
  }
}

}  // namespace spore
