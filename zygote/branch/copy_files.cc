#include "zygote/branch/copy_files.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/securebits.h>
#include <poll.h>
#include <signal.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <map>
#include <memory>
#include <utility>

#include "sandbox/sys/clone.h"
#include "sandbox/sys/step_log.h"
#include "sandbox/sys/unique_fd.h"
#include "zygote/branch/enter_cgroup.h"
#include "zygote/protocol.h"

namespace spore {
namespace {

constexpr size_t kPiece = 256 << 10;
constexpr int kDeepest = 512;  // a folder held open for each
constexpr int kFolder = O_RDONLY | O_DIRECTORY | O_NOFOLLOW;

class TreeCopy {
 public:
  TreeCopy(int target_root, uid_t owner)
      : target_root_(target_root), owner_(owner), buffer_(std::make_unique<char[]>(kPiece)) {}

  Result<> Folder(UniqueFd from, UniqueFd to, const std::string& path, int depth) {
    if (depth > kDeepest)
      return MakeError(ErrorKind::kPrecondition, "its folders are nested too deeply: /" + path);
    const int listed = fcntl(from.get(), F_DUPFD_CLOEXEC, 0);
    const std::unique_ptr<DIR, int (*)(DIR*)> list(fdopendir(listed), closedir);
    if (!list) return SysError("list a folder", path);
    for (errno = 0;; errno = 0) {
      const dirent* entry = readdir(list.get());
      if (entry == nullptr) break;
      const std::string name = entry->d_name;
      if (name == "." || name == "..") continue;
      if (auto done = Entry(from.get(), to.get(), name, path, depth); !done) {
        done.error().object = "/" + path + name;
        return done;
      }
    }
    return errno != 0 ? Result<>(SysError("list a folder", path)) : Result<>();
  }

 private:
  Result<> Entry(int from, int to, const std::string& name, const std::string& path, int depth) {
    struct stat status {};
    if (fstatat(from, name.c_str(), &status, AT_SYMLINK_NOFOLLOW) < 0)
      return errno == ENOENT ? Result<>() : SysError("stat");
    switch (status.st_mode & S_IFMT) {
      case S_IFDIR: {
        UniqueFd inner(openat(from, name.c_str(), kFolder | O_CLOEXEC));
        if (!inner) return SysError("open");
        if (mkdirat(to, name.c_str(), 0700) < 0) return SysError("mkdir");
        UniqueFd made(openat(to, name.c_str(), kFolder | O_CLOEXEC));
        if (!made) return SysError("open");
        const int folder = fcntl(made.get(), F_DUPFD_CLOEXEC, 0);
        const UniqueFd held(folder);
        SPORE_TRY(Folder(std::move(inner), std::move(made), path + name + "/", depth + 1));
        return Attributes(folder, status);
      }
      case S_IFREG:
        return File(from, to, name, path, status);
      case S_IFLNK:
        return Link(from, to, name);
      case S_IFIFO:
        if (mkfifoat(to, name.c_str(), status.st_mode & 07777) < 0) return SysError("mkfifo");
        return Owner(to, name);
      default:
        return {};
    }
  }

  Result<> Owner(int folder, const std::string& name) const {
    if (fchownat(folder, name.c_str(), owner_, owner_, AT_SYMLINK_NOFOLLOW) < 0)
      return SysError("chown");
    return {};
  }

  Result<> Link(int from, int to, const std::string& name) const {
    char target[PATH_MAX];
    const ssize_t length = readlinkat(from, name.c_str(), target, sizeof target - 1);
    if (length < 0) return SysError("readlink");
    target[length] = '\0';
    if (symlinkat(target, to, name.c_str()) < 0) return SysError("symlink");
    return Owner(to, name);
  }

  Result<> Attributes(int file, const struct stat& status) const {
    if (fchown(file, owner_, owner_) < 0) return SysError("chown");
    if (fchmod(file, status.st_mode & 07777) < 0) return SysError("chmod");
    const timespec times[] = {status.st_atim, status.st_mtim};
    if (futimens(file, times) < 0) return SysError("set the times");
    return {};
  }

  Result<> File(int from, int to, const std::string& name, const std::string& path,
                const struct stat& status) {
    if (status.st_nlink > 1) {
      const auto [known, is_new] =
          copied_.emplace(std::pair(status.st_dev, status.st_ino), path + name);
      if (!is_new) {
        if (linkat(target_root_, known->second.c_str(), to, name.c_str(), 0) < 0)
          return SysError("link");
        return {};
      }
    }
    const UniqueFd source(
        openat(from, name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
    struct stat opened {};
    if (!source || fstat(source.get(), &opened) < 0) return SysError("open");
    if (!S_ISREG(opened.st_mode)) return {};  // it was another one a moment ago
    const UniqueFd target(
        openat(to, name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (!target) return SysError("make");
    SPORE_TRY(Contents(source.get(), target.get(), opened.st_size));
    return Attributes(target.get(), opened);
  }

  Result<> Contents(int from, int to, off_t size) {
    if (ftruncate(to, size) < 0) return SysError("truncate");
    for (off_t at = 0; at < size;) {
      const off_t data = lseek(from, at, SEEK_DATA);
      if (data < 0) return errno == ENXIO ? Result<>() : SysError("lseek");
      const off_t end = std::min(size, lseek(from, data, SEEK_HOLE));
      for (at = data; at < end;) {
        const size_t most = std::min(kPiece, static_cast<size_t>(end - at));
        const ssize_t got = TEMP_FAILURE_RETRY(pread(from, buffer_.get(), most, at));
        if (got < 0) return SysError("read");
        if (got == 0) return {};
        if (pwrite(to, buffer_.get(), static_cast<size_t>(got), at) != got)
          return SysError("write");
        at += got;
      }
    }
    return {};
  }

  int target_root_;
  uid_t owner_;
  std::unique_ptr<char[]> buffer_;
  std::map<std::pair<dev_t, ino_t>, std::string> copied_;  // with more names than one
};

// What it makes belongs to the copy: the file system has no name for the host's root. Its
// privileges to read and to set owners stay.
Result<> TakeOwner(uid_t owner) {
  if (prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP) < 0) return SysError("set the securebits");
  (void)setfsgid(owner);
  (void)setfsuid(owner);
  if (static_cast<uid_t>(setfsuid(owner)) == owner) return {};  // it gives the one before
  return MakeError(ErrorKind::kInternal, "take the owner of the files");
}

Result<> CopyAll(const FilesOrder& order, int await_go) {
  SPORE_TRY(EnterCgroups(order.cgroups));
  SPORE_TRY(TakeOwner(order.owner));
  char byte = 0;
  if (TEMP_FAILURE_RETRY(read(await_go, &byte, 1)) != 1) _exit(1);  // it is not wanted any more
  for (const FilesOrder::Folder& folder : order.folders) {
    // Its own position in the list of either.
    UniqueFd from(openat(folder.from, ".", kFolder | O_CLOEXEC));
    UniqueFd to(openat(folder.to, ".", kFolder | O_CLOEXEC));
    if (!from || !to) return SysError("open", folder.name);
    TreeCopy copy(folder.to, order.owner);
    if (auto copied = copy.Folder(std::move(from), std::move(to), "", 0); !copied) {
      copied.error().object = folder.name + copied.error().object;
      return copied;
    }
  }
  return {};
}

wire::Failure FailureOf(const Result<>& result) {
  if (result) return {};
  const Error& error = result.error();
  return wire::MakeFailure(error.errno_value, (error.operation + " " + error.object).c_str());
}

// Until it says something, or has ended.
bool IsInTime(int pipe, std::chrono::milliseconds limit) {
  const uint64_t until =
      StepLog::Now() + static_cast<uint64_t>(std::chrono::nanoseconds(limit).count());
  for (;;) {
    constexpr uint64_t kMillisecond = 1'000'000;
    const uint64_t now = StepLog::Now();
    if (now >= until) return false;
    pollfd waited{pipe, POLLIN, 0};
    const int ready = poll(&waited, 1, static_cast<int>((until - now) / kMillisecond) + 1);
    if (ready > 0 || (ready < 0 && errno != EINTR)) return true;
  }
}

}  // namespace

Result<UniqueFd> OpenPlace(pid_t pid, const char* place) {
  UniqueFd folder(open(fmt::format("/proc/{}/root{}", pid, place).c_str(), kFolder | O_CLOEXEC));
  if (!folder) return SysError("open", place);
  return folder;
}

Result<FilesCopy> FilesCopy::Begin(const FilesOrder& order) {
  int go[2], told[2];
  if (pipe2(go, O_CLOEXEC) < 0) return SysError("make a pipe");
  const UniqueFd await_go(go[0]);
  UniqueFd say_go(go[1]);
  if (pipe2(told, O_CLOEXEC) < 0) return SysError("make a pipe");
  FilesCopy copy;
  copy.told_.Reset(told[0]);
  UniqueFd tell(told[1]);
  copy.limit_ = order.limit;
  copy.pid_ = CloneProcess({.exit_signal = SIGCHLD}, nullptr);
  if (copy.pid_ < 0) return SysError("clone the process that copies files");
  if (copy.pid_ == 0) {
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    say_go.Reset();  // so that it ends if nobody is left to say so
    const wire::Failure failure = FailureOf(CopyAll(order, await_go.get()));
    _exit(write(tell.get(), &failure, sizeof failure) == sizeof failure ? 0 : 1);
  }
  copy.go_ = std::move(say_go);
  return copy;
}

FilesCopy::FilesCopy(FilesCopy&& other) noexcept
    : pid_(std::exchange(other.pid_, 0)),
      go_(std::move(other.go_)),
      told_(std::move(other.told_)),
      limit_(other.limit_) {}

FilesCopy::~FilesCopy() {
  if (pid_ <= 0) return;
  kill(pid_, SIGKILL);
  (void)TEMP_FAILURE_RETRY(waitpid(pid_, nullptr, 0));
}

void FilesCopy::Go() {
  // If it has ended, that is seen in the end.
  (void)!write(go_.get(), "g", 1);
}

Result<> FilesCopy::Await() {
  const bool in_time = IsInTime(told_.get(), limit_);
  if (!in_time) kill(pid_, SIGKILL);
  wire::Failure failure;
  const ssize_t got = TEMP_FAILURE_RETRY(read(told_.get(), &failure, sizeof failure));
  (void)TEMP_FAILURE_RETRY(waitpid(std::exchange(pid_, 0), nullptr, 0));
  if (!in_time)
    return MakeError(ErrorKind::kOverloaded, "its files could not be copied in time",
                     "it has many, or little of a processor");
  if (got != sizeof failure)
    return MakeError(ErrorKind::kOverloaded, "its files could not be copied: out of memory");
  if (!failure.failed()) return {};
  return SysErrorOf(failure.errno_value, std::string("copy its files: ") + failure.operation);
}

Result<> CopyFiles(const FilesOrder& order) {
  SPORE_ASSIGN(FilesCopy copy, FilesCopy::Begin(order));
  copy.Go();
  return copy.Await();
}

}  // namespace spore
