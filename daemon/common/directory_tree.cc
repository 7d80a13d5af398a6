#include "daemon/common/directory_tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <functional>
#include <memory>
#include <string_view>

namespace spore {
namespace {

struct CloseDir {
  void operator()(DIR* dir) const { closedir(dir); }
};

// Calls `each` for the name of every entry but "." and "..".
Result<> ForEachEntry(int directory, const std::function<Result<>(const char*)>& each) {
  // A description of its own: the offset of `directory` may be in use.
  UniqueFd own(openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  std::unique_ptr<DIR, CloseDir> dir(own ? fdopendir(own.get()) : nullptr);
  if (!dir) return SysError("read folder");
  (void)own.Release();  // closedir's now
  for (;;) {
    errno = 0;
    const dirent* entry = readdir(dir.get());
    if (entry == nullptr) {
      if (errno != 0) return SysError("read folder");
      return {};
    }
    std::string_view name = entry->d_name;
    if (name == "." || name == "..") continue;
    SPORE_TRY(each(entry->d_name));
  }
}

class TakeOver {
 public:
  explicit TakeOver(const TakeOverOptions& options) : options_(options) {}

  Result<> Folder(int directory, uint32_t depth) {
    if (depth > options_.max_depth) {
      return MakeError(ErrorKind::kInternal, "the unpacked tree is deeper than allowed");
    }
    SPORE_TRY(
        ForEachEntry(directory, [&](const char* name) { return Entry(directory, name, depth); }));
    if (fchown(directory, 0, 0) != 0) return SysError("chown folder");
    struct stat info = {};
    if (fstat(directory, &info) != 0) return SysError("stat folder");
    if (fchmod(directory, Mode(info.st_mode, 0755)) != 0) return SysError("chmod folder");
    if (options_.sync && fsync(directory) != 0) return SysError("fsync folder");
    return {};
  }

  TreeFacts facts;

 private:
  mode_t Mode(mode_t found, mode_t usual) const {
    return options_.keep_modes ? (found & 0755) | 0600 : usual;
  }

  Result<> Entry(int directory, const char* name, uint32_t depth) {
    struct stat info = {};
    if (fstatat(directory, name, &info, AT_SYMLINK_NOFOLLOW) != 0) return SysError("stat", name);
    if (info.st_uid != options_.owner || ++facts.entries > options_.max_entries) {
      return MakeError(
          ErrorKind::kInternal,
          fmt::format("spore-unpack left more, or other, files than allowed: {}", name));
    }
    if (S_ISDIR(info.st_mode)) {
      SPORE_ASSIGN(UniqueFd folder, OpenDirectory(directory, name));
      return Folder(folder.get(), depth + 1);
    }
    if (S_ISLNK(info.st_mode)) {
      if (fchownat(directory, name, 0, 0, AT_SYMLINK_NOFOLLOW) != 0) return SysError("chown", name);
      return {};
    }
    facts.bytes += static_cast<uint64_t>(info.st_size);
    if (!S_ISREG(info.st_mode) || info.st_nlink != 1 || facts.bytes > options_.max_bytes) {
      return MakeError(ErrorKind::kInternal,
                       fmt::format("spore-unpack left what it may not make: {}", name));
    }
    UniqueFd file(openat(directory, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
    if (!file) return SysError("open", name);
    if (fchown(file.get(), 0, 0) != 0) return SysError("chown", name);
    if (fchmod(file.get(), Mode(info.st_mode, (info.st_mode & 0100) != 0 ? 0755 : 0644)) != 0) {
      return SysError("chmod", name);
    }
    if (options_.sync && fsync(file.get()) != 0) return SysError("fsync", name);
    return {};
  }

  TakeOverOptions options_;
};

// Folders deeper than this are first moved up, so that any depth needs few descriptors.
constexpr uint32_t kRemoveDepth = 100;

class Remover {
 public:
  // `moved` counts what was moved up, over all passes, and names it.
  Remover(int top, uint32_t* moved) : top_(top), moved_(moved) {}

  Result<> Empty(int directory, uint32_t depth) {
    return ForEachEntry(directory, [&](const char* name) -> Result<> {
      if (unlinkat(directory, name, 0) == 0 || errno == ENOENT) return {};
      if (errno != EISDIR && errno != EPERM) return SysError("remove", name);
      if (depth >= kRemoveDepth) {
        std::string moved = fmt::format(".deep-{}", (*moved_)++);
        if (renameat(directory, name, top_, moved.c_str()) != 0) return SysError("move", name);
        return {};
      }
      SPORE_ASSIGN(UniqueFd folder, OpenDirectory(directory, name));
      SPORE_TRY(Empty(folder.get(), depth + 1));
      if (unlinkat(directory, name, AT_REMOVEDIR) != 0) return SysError("remove folder", name);
      return {};
    });
  }

 private:
  int top_;
  uint32_t* moved_;
};

}  // namespace

Result<TreeFacts> TakeOverTree(int directory, const TakeOverOptions& options) {
  TakeOver walk(options);
  SPORE_TRY(walk.Folder(directory, 0));
  return walk.facts;
}

Result<> LinkTree(int from, int to, bool sync) {
  auto copied = ForEachEntry(from, [&](const char* name) -> Result<> {
    struct stat info = {};
    if (fstatat(from, name, &info, AT_SYMLINK_NOFOLLOW) != 0) return SysError("stat", name);
    if (!S_ISDIR(info.st_mode)) {
      if (linkat(from, name, to, name, 0) != 0) return SysError("link", name);
      return {};
    }
    SPORE_ASSIGN(UniqueFd source, OpenDirectory(from, name));
    SPORE_ASSIGN(UniqueFd target, MakeDirectory(to, name, 0755));
    return LinkTree(source.get(), target.get(), sync);
  });
  if (!copied) return copied;
  if (sync && fsync(to) != 0) return SysError("fsync folder");
  return {};
}

Result<> RemoveTree(int parent, const std::string& name) {
  if (unlinkat(parent, name.c_str(), 0) == 0 || errno == ENOENT) return {};
  if (errno != EISDIR && errno != EPERM) return SysError("remove", name);
  SPORE_ASSIGN(UniqueFd top, OpenDirectory(parent, name));
  uint32_t moved = 0;
  uint32_t before = 0;
  do {
    // A pass that moved folders up may have done so behind the reader's back.
    before = moved;
    SPORE_TRY(Remover(top.get(), &moved).Empty(top.get(), 0));
  } while (moved != before);
  if (unlinkat(parent, name.c_str(), AT_REMOVEDIR) != 0) return SysError("remove folder", name);
  return {};
}

Result<std::vector<std::string>> EntryNames(int directory) {
  std::vector<std::string> names;
  SPORE_TRY(ForEachEntry(directory, [&](const char* name) -> Result<> {
    names.emplace_back(name);
    return {};
  }));
  return names;
}

Result<std::string> ReadSmallFile(int parent, const std::string& path, size_t max_bytes) {
  UniqueFd file(openat(parent, path.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (!file) return SysError("open", path);
  std::string bytes;
  std::array<char, 16384> buffer;
  for (;;) {
    ssize_t n = read(file.get(), buffer.data(), buffer.size());
    if (n < 0) return SysError("read", path);
    if (n == 0) return bytes;
    bytes.append(buffer.data(), static_cast<size_t>(n));
    if (bytes.size() > max_bytes) return MakeError(ErrorKind::kInternal, path + " is too long");
  }
}

Result<UniqueFd> OpenDirectory(int parent, const std::string& name) {
  UniqueFd fd(openat(parent, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!fd) return SysError("open folder", name);
  return fd;
}

Result<UniqueFd> MakeDirectory(int parent, const std::string& name, mode_t mode, bool may_exist) {
  if (mkdirat(parent, name.c_str(), mode) != 0 && !(may_exist && errno == EEXIST)) {
    return SysError("make folder", name);
  }
  SPORE_ASSIGN(UniqueFd fd, OpenDirectory(parent, name));
  // Whatever the umask was.
  if (!may_exist && fchmod(fd.get(), mode) != 0) return SysError("chmod", name);
  return fd;
}

Result<> SyncDirectory(int directory, const std::string& name) {
  if (fsync(directory) != 0) return SysError("fsync folder", name);
  return {};
}

}  // namespace spore
