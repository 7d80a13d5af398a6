#include "zygote/hosts/common/session_files.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <tuple>

namespace spore {
namespace {

using session::Op;
using session::Reader;
using session::Tag;
using session::Writer;

// Never waits (a pipe), never becomes the controlling terminal.
constexpr int kOpen = O_NONBLOCK | O_NOCTTY;

std::string Failed(int error, const char* what) {
  return Writer(Op::kFailed)
      .PutNumber(Tag::kErrno, static_cast<uint64_t>(error))
      .Put(Tag::kText, what)
      .Take();
}
std::string Failed(const char* what) {
  return Failed(errno, what);
}
std::string Done() {
  return Writer(Op::kDone).Take();
}

bool IsRegular(int fd, struct stat& status) {
  if (fstat(fd, &status) < 0) return false;
  if (S_ISREG(status.st_mode)) return true;
  errno = S_ISDIR(status.st_mode) ? EISDIR : EINVAL;
  return false;
}

std::string ReadFile(Reader& ask) {
  const std::string path(ask.Get(Tag::kPath));
  const int follow = ask.Has(session::kNoFollow) ? O_NOFOLLOW : 0;
  const UniqueFd file(open(path.c_str(), O_RDONLY | O_CLOEXEC | kOpen | follow));
  if (!file) return Failed("open");
  struct stat status {};
  if (!IsRegular(file.get(), status)) return Failed("read");
  const uint64_t offset = ask.GetNumber(Tag::kOffset);
  std::string data(std::min<uint64_t>(ask.GetNumber(Tag::kLength), session::kMaxChunk), '\0');
  size_t got = 0;
  while (got < data.size()) {
    const ssize_t part =
        pread(file.get(), data.data() + got, data.size() - got, static_cast<off_t>(offset + got));
    if (part < 0 && errno == EINTR) continue;
    if (part < 0) return Failed("read");
    if (part == 0) break;
    got += static_cast<size_t>(part);
  }
  const bool end = got < data.size() || offset + got == static_cast<uint64_t>(status.st_size);
  data.resize(got);
  return Writer(Op::kDone)
      .Put(Tag::kData, data)
      .PutNumber(Tag::kSize, static_cast<uint64_t>(status.st_size))
      .PutNumber(Tag::kFlags, end ? session::kEnd : 0)
      .Take();
}

std::string WriteFile(Reader& ask) {
  const std::string path(ask.Get(Tag::kPath));
  int flags = O_WRONLY | kOpen;
  if (ask.Has(session::kCreate)) flags |= O_CREAT;
  if (ask.Has(session::kTruncate)) flags |= O_TRUNC;
  if (ask.Has(session::kExclusive)) flags |= O_EXCL;
  if (ask.Has(session::kAppend)) flags |= O_APPEND;
  if (ask.Has(session::kNoFollow)) flags |= O_NOFOLLOW;
  const auto mode = static_cast<mode_t>(ask.GetNumber(Tag::kMode) & 07777);
  const UniqueFd file(open(path.c_str(), flags | O_CLOEXEC, mode));
  if (!file) return Failed("open");
  struct stat status {};
  if (!IsRegular(file.get(), status)) return Failed("write");
  std::string_view data = ask.Get(Tag::kData);
  uint64_t offset = ask.GetNumber(Tag::kOffset);
  while (!data.empty()) {
    const ssize_t done = ask.Has(session::kAppend) ? write(file.get(), data.data(), data.size())
                                                   : pwrite(file.get(), data.data(), data.size(),
                                                            static_cast<off_t>(offset));
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) return Failed("write");
    offset += static_cast<uint64_t>(done);
    data.remove_prefix(static_cast<size_t>(done));
  }
  if (fstat(file.get(), &status) < 0) return Failed("write");
  return Writer(Op::kDone).PutNumber(Tag::kSize, static_cast<uint64_t>(status.st_size)).Take();
}

session::Kind KindOf(mode_t mode) {
  if (S_ISREG(mode)) return session::Kind::kFile;
  if (S_ISDIR(mode)) return session::Kind::kDirectory;
  return S_ISLNK(mode) ? session::Kind::kSymlink : session::Kind::kOther;
}

// As getdents64(2) gives them.
struct Dirent {
  uint64_t inode;
  int64_t next;
  unsigned short length;
  unsigned char type;
  char name[1];
};

bool IsDots(const char* name) {
  return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

std::string ListFiles(Reader& ask) {
  const std::string path(ask.Get(Tag::kPath));
  const UniqueFd folder(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | kOpen));
  if (!folder) return Failed("open");
  uint64_t cursor = ask.GetNumber(Tag::kCursor);
  if (cursor != 0 && lseek(folder.get(), static_cast<off_t>(cursor), SEEK_SET) < 0)
    return Failed(EINVAL, "continue the listing");
  const uint64_t limit = std::min<uint64_t>(ask.GetNumber(Tag::kLimit), session::kMaxEntries);
  Writer body(Op::kDone);
  uint64_t count = 0;
  alignas(8) char buffer[32 << 10];
  for (;;) {
    const long got = syscall(SYS_getdents64, folder.get(), buffer, sizeof buffer);
    if (got < 0) return Failed("list");
    if (got == 0) return body.PutNumber(Tag::kCursor, 0).Take();
    for (long at = 0; at < got;) {
      const auto* entry = reinterpret_cast<const Dirent*>(buffer + at);
      at += entry->length;
      if (!IsDots(entry->name)) {
        bool there = false;
        Writer file = FileEntry(folder.get(), entry->name, false, &there);
        if (there) body.Put(Tag::kEntry, file.body());
        ++count;
      }
      cursor = static_cast<uint64_t>(entry->next);
      if (count >= limit || body.size() > session::kMaxChunk)
        return body.PutNumber(Tag::kCursor, cursor).Take();
    }
  }
}

std::string StatFile(Reader& ask) {
  const std::string path(ask.Get(Tag::kPath));
  bool there = false;
  Writer file = FileEntry(AT_FDCWD, path.c_str(), !ask.Has(session::kNoFollow), &there);
  if (!there) return Failed("stat");
  return Writer(Op::kDone).Put(Tag::kEntry, file.body()).Take();
}

std::string MakeDirectory(Reader& ask) {
  const std::string path(ask.Get(Tag::kPath));
  const auto mode = static_cast<mode_t>(ask.GetNumber(Tag::kMode) & 07777);
  const bool parents = ask.Has(session::kParents);
  for (size_t at = path.find('/', 1); parents && at != path.npos; at = path.find('/', at + 1)) {
    if (mkdir(path.substr(0, at).c_str(), 0755) < 0 && errno != EEXIST && errno != EROFS &&
        errno != EACCES)
      return Failed("mkdir");
  }
  if (mkdir(path.c_str(), mode) == 0) return Done();
  const int error = errno;
  struct stat status {};
  if (parents && stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode)) return Done();
  return Failed(error, "mkdir");
}

std::string RenameFile(Reader& ask) {
  const std::string from(ask.Get(Tag::kPath)), to(ask.Get(Tag::kTarget));
  const unsigned flags = ask.Has(session::kReplace) ? 0 : RENAME_NOREPLACE;
  if (renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), flags) < 0) return Failed("rename");
  return Done();
}

std::string MakeSymlink(Reader& ask) {
  const std::string target(ask.Get(Tag::kTarget)), path(ask.Get(Tag::kPath));
  if (symlink(target.c_str(), path.c_str()) < 0) return Failed("symlink");
  return Done();
}

std::string SetAttributes(Reader& ask) {
  const std::string path(ask.Get(Tag::kPath));
  if (const auto mode = ask.FindNumber(Tag::kMode)) {
    struct stat status {};
    if (lstat(path.c_str(), &status) < 0) return Failed("stat");
    // Whoever puts a link there in between harms himself.
    if (S_ISLNK(status.st_mode)) return Failed(ELOOP, "chmod");
    if (chmod(path.c_str(), static_cast<mode_t>(*mode & 07777)) < 0) return Failed("chmod");
  }
  if (const auto modified = ask.FindNumber(Tag::kModified)) {
    const auto ns = static_cast<int64_t>(*modified);
    constexpr int64_t kSecond = 1'000'000'000;
    int64_t seconds = ns / kSecond, rest = ns % kSecond;
    if (rest < 0) --seconds, rest += kSecond;
    const timespec times[2] = {{.tv_sec = 0, .tv_nsec = UTIME_OMIT},
                               {.tv_sec = seconds, .tv_nsec = rest}};
    if (utimensat(AT_FDCWD, path.c_str(), times, AT_SYMLINK_NOFOLLOW) < 0)
      return Failed("set the time of");
  }
  return Done();
}

// Of a path without a trailing slash.
std::pair<std::string, std::string> Cut(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  const size_t at = path.rfind('/');
  return {at == 0 ? "/" : path.substr(0, at), path.substr(at + 1)};
}

}  // namespace

Writer FileEntry(int folder, const char* name, bool follow, bool* there) {
  Writer entry;
  struct stat status {};
  *there = fstatat(folder, name, &status, follow ? 0 : AT_SYMLINK_NOFOLLOW) == 0;
  if (!*there) return entry;
  const int64_t modified = int64_t{status.st_mtim.tv_sec} * 1'000'000'000 + status.st_mtim.tv_nsec;
  entry.Put(Tag::kPath, name)
      .PutNumber(Tag::kKind, static_cast<uint64_t>(KindOf(status.st_mode)))
      .PutNumber(Tag::kSize, static_cast<uint64_t>(status.st_size))
      .PutNumber(Tag::kMode, status.st_mode & 07777)
      .PutNumber(Tag::kModified, static_cast<uint64_t>(modified))
      .PutNumber(Tag::kLinks, status.st_nlink)
      .PutNumber(Tag::kInode, status.st_ino);
  if (!S_ISLNK(status.st_mode)) return entry;
  char target[PATH_MAX];
  const ssize_t length = readlinkat(folder, name, target, sizeof target);
  if (length > 0) entry.Put(Tag::kTarget, {target, static_cast<size_t>(length)});
  return entry;
}

std::optional<std::string> ServeFile(Reader& ask) {
  switch (ask.op()) {
    case Op::kReadFile:
      return ReadFile(ask);
    case Op::kWriteFile:
      return WriteFile(ask);
    case Op::kListFiles:
      return ListFiles(ask);
    case Op::kStatFile:
      return StatFile(ask);
    case Op::kMakeDirectory:
      return MakeDirectory(ask);
    case Op::kRenameFile:
      return RenameFile(ask);
    case Op::kMakeSymlink:
      return MakeSymlink(ask);
    case Op::kSetAttributes:
      return SetAttributes(ask);
    default:
      return std::nullopt;
  }
}

std::optional<std::string> RemoveOne(Reader& ask) {
  const std::string path(ask.Get(Tag::kPath));
  if (unlink(path.c_str()) == 0) return Done();
  if (errno == ENOENT && ask.Has(session::kMissingOk)) return Done();
  if (errno != EISDIR && errno != EPERM) return Failed("remove");
  const int error = errno;
  if (rmdir(path.c_str()) == 0) return Done();
  if (errno == ENOTDIR) return Failed(error, "remove");
  if ((errno == ENOTEMPTY || errno == EEXIST) && ask.Has(session::kRecursive)) return std::nullopt;
  return Failed("remove");
}

TreeRemoval::TreeRemoval(const std::string& path) {
  std::tie(parent_, name_) = Cut(path);
  parent_folder_.Reset(open(parent_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | kOpen));
  if (!parent_folder_ || !Descend(name_.c_str())) error_ = errno;
}

std::optional<std::string> TreeRemoval::Fail(int error) const {
  return Failed(error, "remove what is below");
}

bool TreeRemoval::Descend(const char* name) {
  // Deeper than this is a joke of somebody's, and would take all descriptors.
  constexpr size_t kDeepest = 200;
  if (levels_.size() >= kDeepest) {
    errno = ELOOP;
    return false;
  }
  const int above = levels_.empty() ? parent_folder_.get() : levels_.back().folder.get();
  UniqueFd folder(openat(above, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC | kOpen));
  if (!folder) return false;
  levels_.push_back({std::move(folder), name});
  return true;
}

std::optional<std::string> TreeRemoval::Step() {
  constexpr uint64_t kMost = 4'000'000;  // somebody makes them as fast as they go
  if (error_ != 0) return Fail(error_);
  if (removed_ > kMost) return Fail(EBUSY);
  const int folder = levels_.back().folder.get();
  alignas(8) char buffer[32 << 10];
  if (lseek(folder, 0, SEEK_SET) < 0) return Fail(errno);
  const long got = syscall(SYS_getdents64, folder, buffer, sizeof buffer);
  if (got < 0) return Fail(errno);
  bool any = false;
  for (long at = 0; at < got;) {
    const auto* entry = reinterpret_cast<const Dirent*>(buffer + at);
    at += entry->length;
    if (IsDots(entry->name)) continue;
    any = true;
    ++removed_;
    if (unlinkat(folder, entry->name, 0) == 0 || errno == ENOENT) continue;
    if (errno != EISDIR && errno != EPERM) return Fail(errno);
    if (!Descend(entry->name)) return Fail(errno);
    return std::nullopt;
  }
  if (any) return std::nullopt;
  const std::string name = levels_.back().name;
  levels_.pop_back();
  const int above = levels_.empty() ? parent_folder_.get() : levels_.back().folder.get();
  if (unlinkat(above, name.c_str(), AT_REMOVEDIR) < 0 && errno != ENOENT) {
    if (errno != ENOTEMPTY) return Fail(errno);
    if (!Descend(name.c_str())) return Fail(errno);
    return std::nullopt;
  }
  if (levels_.empty()) return Done();
  return std::nullopt;
}

}  // namespace spore
