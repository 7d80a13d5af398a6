#include "daemon/checkpoint_files.h"

#include <archive.h>
#include <archive_entry.h>
#include <dirent.h>
#include <fcntl.h>
#include <nettle/sha2.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <memory>
#include <set>
#include <vector>

namespace spore {
namespace {

// What scripts/quickstart brings, the package spore-criu, and the host's own.
constexpr const char* kCriuPlaces[] = {"/usr/local/lib/spore/criu/usr", "/usr/lib/spore/criu/usr",
                                       "/usr"};
constexpr size_t kChunk = 1u << 20;
constexpr size_t kMaxFiles = 1000;
constexpr size_t kMaxName = 128;

using Reader = std::unique_ptr<archive, decltype(&archive_read_free)>;
using Writer = std::unique_ptr<archive, decltype(&archive_write_free)>;
using Entry = std::unique_ptr<archive_entry, decltype(&archive_entry_free)>;

class Sha256 {
 public:
  Sha256() { sha256_init(&context_); }
  void Add(const void* data, size_t size) {
    sha256_update(&context_, size, static_cast<const uint8_t*>(data));
  }
  std::string Text() {
    std::array<uint8_t, SHA256_DIGEST_SIZE> digest;
    sha256_digest(&context_, digest.size(), digest.data());
    std::string text = "sha256:";
    for (const uint8_t byte : digest) {
      text += "0123456789abcdef"[byte >> 4];
      text += "0123456789abcdef"[byte & 15];
    }
    return text;
  }

 private:
  sha256_ctx context_;
};

// Where libarchive writes to.
struct Output {
  int fd;
  Sha256 digest;
  uint64_t bytes = 0;
};

la_ssize_t WriteOutput(archive* packed, void* data, const void* buffer, size_t size) {
  auto* output = static_cast<Output*>(data);
  const auto* from = static_cast<const char*>(buffer);
  for (size_t done = 0; done < size;) {
    const ssize_t n = write(output->fd, from + done, size - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      archive_set_error(packed, errno, "write");
      return -1;
    }
    done += static_cast<size_t>(n);
  }
  output->digest.Add(buffer, size);
  output->bytes += size;
  return static_cast<la_ssize_t>(size);
}

auto ArchiveError(archive* packed, const std::string& doing, const std::string& name) {
  const char* text = archive_error_string(packed);
  const int error = archive_errno(packed);
  return SysErrorOf(error > 0 ? error : EIO,
                    doing + (text == nullptr ? "" : std::string(" (") + text + ")"), name);
}

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
  const Writer packed(archive_write_new(), &archive_write_free);
  Output output{.fd = file, .digest = {}};
  archive_write_add_filter_zstd(packed.get());
  // Memory is written once and read often: the fastest level loses little.
  archive_write_set_filter_option(packed.get(), "zstd", "compression-level", "1");
  archive_write_set_format_pax_restricted(packed.get());
  archive_write_set_bytes_in_last_block(packed.get(), 1);
  if (archive_write_open(packed.get(), &output, nullptr, &WriteOutput, nullptr) != ARCHIVE_OK)
    return ArchiveError(packed.get(), "begin", "the checkpoint's archive");
  CheckpointArchive made;
  for (const std::string& name : names)
    SPORE_TRY(PackFile(packed.get(), directory, name, &made.unpacked_bytes));
  if (archive_write_close(packed.get()) != ARCHIVE_OK)
    return ArchiveError(packed.get(), "finish", "the checkpoint's archive");
  made.digest = output.digest.Text();
  made.bytes = output.bytes;
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
  const Reader packed(archive_read_new(), &archive_read_free);
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
