#include "tools/client/image_tar.h"

#include <archive.h>
#include <archive_entry.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <memory>
#include <vector>

#include "tools/client/memfd.h"

namespace spore::client {
namespace {

struct FreeWriter {
  void operator()(archive* writer) const { archive_write_free(writer); }
};
struct FreeEntry {
  void operator()(archive_entry* entry) const { archive_entry_free(entry); }
};
struct CloseDir {
  void operator()(DIR* dir) const { ::closedir(dir); }
};

class Packer {
 public:
  Packer(int out, dev_t device) : writer_(archive_write_new()), device_(device) {
    archive* writer = writer_.get();
    // BINARY: names are bytes, whatever the locale.
    ready_ = writer != nullptr && archive_write_set_format_pax_restricted(writer) == ARCHIVE_OK &&
             archive_write_set_options(writer, "hdrcharset=BINARY") == ARCHIVE_OK &&
             archive_write_open_fd(writer, out) == ARCHIVE_OK;
  }

  Result<> Pack(int root) {
    if (!ready_) return LocalError("cannot start an archive");
    if (auto packed = Folder(root, ""); !packed) return packed;
    if (archive_write_close(writer_.get()) != ARCHIVE_OK) return Failure("the archive's end");
    return {};
  }

 private:
  Result<> Folder(int folder, const std::string& path) {
    const int own = ::openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    std::unique_ptr<DIR, CloseDir> dir(own >= 0 ? ::fdopendir(own) : nullptr);
    if (!dir) return LocalError("cannot read directory " + path, errno);
    std::vector<std::string> names;
    while (const dirent* entry = ::readdir(dir.get())) {
      const std::string name = entry->d_name;
      if (name != "." && name != "..") names.push_back(name);
    }
    dir.reset();
    std::sort(names.begin(), names.end());
    for (const std::string& name : names) {
      auto added = Add(folder, name, path.empty() ? name : path + "/" + name);
      if (!added) return added;
    }
    return {};
  }

  Result<> Add(int folder, const std::string& name, const std::string& path) {
    struct stat info {};
    if (::fstatat(folder, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0)
      return LocalError("cannot read " + path, errno);
    if (S_ISSOCK(info.st_mode)) return {};  // tar has none
    Fd fd;
    if (S_ISREG(info.st_mode) || S_ISDIR(info.st_mode)) {
      fd.Reset(::openat(folder, name.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
      if (!fd.valid() || ::fstat(fd.get(), &info) != 0)
        return LocalError("cannot read " + path, errno);
    }
    std::unique_ptr<archive_entry, FreeEntry> entry(archive_entry_new());
    archive_entry_copy_pathname(entry.get(), path.c_str());
    archive_entry_set_filetype(entry.get(), info.st_mode & S_IFMT);
    archive_entry_set_perm(entry.get(), info.st_mode & 07777);
    archive_entry_set_size(entry.get(), S_ISREG(info.st_mode) ? info.st_size : 0);
    if (S_ISLNK(info.st_mode)) {
      std::array<char, PATH_MAX> target{};
      if (::readlinkat(folder, name.c_str(), target.data(), target.size() - 1) < 0)
        return LocalError("cannot read link " + path, errno);
      archive_entry_copy_symlink(entry.get(), target.data());
    }
    if (archive_write_header(writer_.get(), entry.get()) != ARCHIVE_OK) return Failure(path);
    if (S_ISREG(info.st_mode)) return Copy(fd, path);
    // What is mounted there is another's.
    if (S_ISDIR(info.st_mode) && info.st_dev == device_) return Folder(fd.get(), path);
    return {};
  }

  // The header has announced a size: a file that shrinks or grows meanwhile is an error.
  Result<> Copy(const Fd& fd, const std::string& path) {
    for (;;) {
      const ssize_t got = ::read(fd.get(), buffer_.data(), buffer_.size());
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return LocalError("cannot read " + path, errno);
      if (got == 0) break;
      const la_ssize_t written =
          archive_write_data(writer_.get(), buffer_.data(), static_cast<std::size_t>(got));
      if (written < 0) return Failure(path);
      if (written != got) return LocalError(path + " changed while it was read");
    }
    return archive_write_finish_entry(writer_.get()) == ARCHIVE_OK ? Result<>{} : Failure(path);
  }

  // errno EPIPE: spored reads no more, and says why itself.
  tl::unexpected<Error> Failure(const std::string& path) {
    const char* why = archive_error_string(writer_.get());
    auto error = LocalError("cannot pack " + path + (why ? std::string(": ") + why : ""));
    error.value().errno_value = archive_errno(writer_.get());
    return error;
  }

  std::unique_ptr<archive, FreeWriter> writer_;
  dev_t device_;
  bool ready_ = false;
  std::array<char, 256 << 10> buffer_{};
};

Result<std::pair<Fd, Fd>> MakePipe() {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return LocalError("cannot make a pipe", errno);
  return std::pair(Fd(ends[0]), Fd(ends[1]));
}

}  // namespace

Result<ImageArchive> ImageArchive::Open(const std::string& path) {
  // O_NONBLOCK: a named pipe must not hang us before it is refused.
  Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct stat info {};
  if (!file.valid() || ::fstat(file.get(), &info) != 0)
    return LocalError("cannot read " + path, errno);
  if (S_ISREG(info.st_mode)) return ImageArchive(std::move(file), Fd(), -1);
  if (!S_ISDIR(info.st_mode))
    return LocalError("cannot import " + path + ": it is neither a file nor a directory");
  auto data = MakePipe();
  if (!data) return tl::unexpected(data.error());
  auto errors = MakePipe();
  if (!errors) return tl::unexpected(errors.error());
  const pid_t packer = ::fork();
  if (packer < 0) return LocalError("cannot start a process", errno);
  if (packer == 0) {
    data->first.Reset();
    errors->first.Reset();
    const auto packed = std::make_unique<Packer>(data->second.get(), info.st_dev)->Pack(file.get());
    if (!packed && packed.error().errno_value != EPIPE)
      (void)WriteAll(errors->second.get(), packed.error().message, "pipe");
    ::_exit(packed ? 0 : 1);
  }
  return ImageArchive(std::move(data->first), std::move(errors->first), packer);
}

Result<> ImageArchive::Finish() {
  fd_.Reset();
  if (packer_ < 0) return {};
  // Its end, or its death, closes the pipe.
  auto words = ReadAll(errors_.get(), 4096, "errors");
  int status = 0;
  const pid_t packer = std::exchange(packer_, -1);
  while (::waitpid(packer, &status, 0) < 0 && errno == EINTR) {
  }
  if (words && !words->empty()) return LocalError(*words);
  return {};
}

ImageArchive::~ImageArchive() {
  if (packer_ < 0) return;
  ::kill(packer_, SIGKILL);  // not reaped yet, so the number is its own
  while (::waitpid(packer_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

}  // namespace spore::client
