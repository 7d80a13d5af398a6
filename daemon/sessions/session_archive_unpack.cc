#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "daemon/functions/archive_output.h"
#include "daemon/sessions/session_archive.h"
#include "zygote/checkpoint_protocol.h"

namespace spore {
namespace {

using session_archive::kChunk;
using session_archive::Kind;
using session_archive::kMark;
using session_archive::kMaxDepth;
using session_archive::kMaxName;
using session_archive::kMaxPath;
using session_archive::kMaxTarget;

constexpr int kFolderFlags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW;
constexpr uint64_t kNanoseconds = 1'000'000'000;

tl::unexpected<Error> Strange(const char* what) {
  return MakeError(ErrorKind::kPrecondition,
                   std::string("its archive holds what no checkpoint does: ") + what);
}

bool IsName(const std::string& name) {
  return !name.empty() && name.size() <= kMaxName && name != "." && name != ".." &&
         name.find('/') == name.npos && name.find('\0') == name.npos;
}

class Unpacker {
 public:
  Unpacker(archive* packed, int directory, uid_t owner)
      : packed_(packed), root_(directory), owner_(owner), buffer_(kChunk) {}

  Result<> All() {
    char mark[sizeof kMark];
    SPORE_TRY(Get(mark, sizeof mark));
    if (memcmp(mark, kMark, sizeof mark) != 0) return Strange("another format");
    for (;;) {
      uint8_t byte = 0;
      SPORE_TRY(Get(&byte, 1));
      const auto kind = static_cast<Kind>(byte);
      if (kind == Kind::kEnd) break;
      SPORE_TRY(kind == Kind::kUp ? Up() : Entry(kind));
    }
    if (!open_.empty()) return Strange("a folder without an end");
    char more = 0;
    if (archive_read_data(packed_, &more, 1) != 0) return Strange("something behind its end");
    return {};
  }

 private:
  // A folder that is being filled; what it is to have in the end would be changed by that.
  struct Open {
    UniqueFd folder;
    mode_t mode = 0;
    timespec time{};
  };

  Result<> Get(void* data, size_t size) {
    auto* to = static_cast<char*>(data);
    while (size > 0) {
      const la_ssize_t got = archive_read_data(packed_, to, size);
      if (got < 0) return ArchiveError(packed_, "read", "the checkpoint's archive");
      if (got == 0) return Strange("no end");
      to += got;
      size -= static_cast<size_t>(got);
    }
    return {};
  }
  Result<uint64_t> Number() {
    uint8_t bytes[8];
    SPORE_TRY(Get(bytes, sizeof bytes));
    uint64_t number = 0;
    for (int i = 0; i < 8; ++i) number |= static_cast<uint64_t>(bytes[i]) << (8 * i);
    return number;
  }
  Result<std::string> Text(size_t most) {
    SPORE_ASSIGN(const uint64_t size, Number());
    if (size > most) return Strange("a text that is too long");
    std::string text(size, '\0');
    SPORE_TRY(Get(text.data(), text.size()));
    return text;
  }
  Result<timespec> Time() {
    SPORE_ASSIGN(const uint64_t seconds, Number());
    SPORE_ASSIGN(const uint64_t nanoseconds, Number());
    if (nanoseconds >= kNanoseconds) return Strange("a time that is none");
    return timespec{static_cast<time_t>(seconds), static_cast<long>(nanoseconds)};
  }
  Result<mode_t> Mode() {
    SPORE_ASSIGN(const uint64_t mode, Number());
    if (mode > 07777) return Strange("a mode that is none");
    return static_cast<mode_t>(mode);
  }

  bool in_images() const { return in_images_; }
  int folder() const { return open_.empty() ? root_ : open_.back().folder.get(); }

  Result<> Entry(Kind kind) {
    SPORE_ASSIGN(const std::string name, Text(kMaxName));
    if (!IsName(name)) return Strange("a name that is none");
    if (open_.empty()) {
      in_images_ = name == wire::kCheckpointImages;
      if (kind != Kind::kFolder || (!in_images_ && name != "files"))
        return Strange("something beside images and files");
    } else if (in_images_ && kind != Kind::kFile) {
      return Strange("an image that is no file");
    }
    switch (kind) {
      case Kind::kFolder:
        return Folder(name);
      case Kind::kFile:
        return File(name);
      case Kind::kLink:
        return Link(name);
      case Kind::kSymlink:
        return Symlink(name);
      case Kind::kFifo:
        return Fifo(name);
      default:
        return Strange("an entry of no kind");
    }
  }

  Result<> Folder(const std::string& name) {
    if (open_.size() > kMaxDepth) return Strange("folders that are nested too deeply");
    Open inner;
    SPORE_ASSIGN(inner.mode, Mode());
    SPORE_ASSIGN(inner.time, Time());
    if (mkdirat(folder(), name.c_str(), 0700) != 0) return SysError("make a folder of the session");
    inner.folder.Reset(openat(folder(), name.c_str(), kFolderFlags | O_CLOEXEC));
    if (!inner.folder) return SysError("open a folder of the session");
    open_.push_back(std::move(inner));
    return {};
  }

  Result<> Up() {
    if (open_.empty()) return Strange("an end without a folder");
    const Open done = std::move(open_.back());
    open_.pop_back();
    return Finish(done.folder.get(), done.mode, done.time);
  }

  Result<> Finish(int file, mode_t mode, const timespec& time) const {
    if (in_images() && fchown(file, owner_, owner_) != 0) return SysError("chown an image");
    if (fchmod(file, mode) != 0) return SysError("set a mode");
    const timespec times[] = {time, time};
    if (futimens(file, times) != 0) return SysError("set a time");
    return {};
  }

  Result<> File(const std::string& name) {
    SPORE_ASSIGN(const mode_t mode, Mode());
    SPORE_ASSIGN(const timespec time, Time());
    SPORE_ASSIGN(const uint64_t size, Number());
    if (size > INT64_MAX) return Strange("a size that is none");
    UniqueFd file(
        openat(folder(), name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (!file) return SysError("make a file of the session");
    if (ftruncate(file.get(), static_cast<off_t>(size)) != 0) return SysError("make a file's size");
    SPORE_TRY(Contents(file.get(), size));
    return Finish(file.get(), mode, time);
  }

  Result<> Contents(int file, uint64_t size) {
    for (uint64_t at = 0;;) {
      SPORE_ASSIGN(const uint64_t offset, Number());
      SPORE_ASSIGN(const uint64_t length, Number());
      if (length == 0) return {};
      if (offset < at || offset > size || length > size - offset)
        return Strange("data beyond a file");
      at = offset;
      for (uint64_t left = length; left > 0;) {
        const size_t piece = std::min<uint64_t>(buffer_.size(), left);
        SPORE_TRY(Get(buffer_.data(), piece));
        SPORE_TRY(Write(file, piece, static_cast<off_t>(at)));
        at += piece;
        left -= piece;
      }
    }
  }

  Result<> Write(int file, size_t size, off_t at) const {
    for (size_t done = 0; done < size;) {
      const ssize_t n = TEMP_FAILURE_RETRY(
          pwrite(file, buffer_.data() + done, size - done, at + static_cast<off_t>(done)));
      if (n < 0) return SysError("write a file of the session");
      done += static_cast<size_t>(n);
    }
    return {};
  }

  // The first name is looked up a folder at a time: it may be longer than a path may be.
  Result<> Link(const std::string& name) {
    SPORE_ASSIGN(const std::string path, Text(kMaxPath));
    UniqueFd held;
    int at = root_;
    size_t begin = 0;
    for (size_t slash = path.find('/'); slash != path.npos; slash = path.find('/', begin)) {
      const std::string part = path.substr(begin, slash - begin);
      if (!IsName(part) || (begin == 0 && part != "files")) return Strange("a link to nowhere");
      UniqueFd inner(openat(at, part.c_str(), kFolderFlags | O_CLOEXEC));
      if (!inner) return Strange("a link to nowhere");
      held = std::move(inner);
      at = held.get();
      begin = slash + 1;
    }
    const std::string leaf = path.substr(begin);
    struct stat status {};
    if (begin == 0 || !IsName(leaf) ||
        fstatat(at, leaf.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(status.st_mode))
      return Strange("a link to what is no file");
    if (linkat(at, leaf.c_str(), folder(), name.c_str(), 0) != 0)
      return SysError("link a file of the session");
    return {};
  }

  Result<> Symlink(const std::string& name) {
    SPORE_ASSIGN(const timespec time, Time());
    SPORE_ASSIGN(const std::string target, Text(kMaxTarget));
    if (target.empty() || target.find('\0') != target.npos) return Strange("a link to no name");
    if (symlinkat(target.c_str(), folder(), name.c_str()) != 0)
      return SysError("make a link of the session");
    return SetTime(name, time);
  }

  Result<> Fifo(const std::string& name) {
    SPORE_ASSIGN(const mode_t mode, Mode());
    SPORE_ASSIGN(const timespec time, Time());
    if (mkfifoat(folder(), name.c_str(), 0600) != 0) return SysError("make a fifo of the session");
    if (fchmodat(folder(), name.c_str(), mode, AT_SYMLINK_NOFOLLOW) != 0)
      return SysError("set the mode of a fifo");
    return SetTime(name, time);
  }

  Result<> SetTime(const std::string& name, const timespec& time) const {
    const timespec times[] = {time, time};
    if (utimensat(folder(), name.c_str(), times, AT_SYMLINK_NOFOLLOW) != 0)
      return SysError("set a time");
    return {};
  }

  archive* packed_;
  int root_;
  uid_t owner_;
  std::vector<char> buffer_;
  std::vector<Open> open_;  // the innermost last
  bool in_images_ = false;
};

}  // namespace

Result<> UnpackSession(int file, const CheckpointArchive& expected, int directory, uid_t owner) {
  SPORE_TRY(VerifyCheckpoint(file, expected));
  const ArchiveReader packed(archive_read_new(), &archive_read_free);
  archive_read_support_filter_zstd(packed.get());
  archive_read_support_format_raw(packed.get());
  archive_entry* entry = nullptr;
  if (archive_read_open_fd(packed.get(), file, kChunk) != ARCHIVE_OK ||
      archive_read_next_header(packed.get(), &entry) != ARCHIVE_OK)
    return ArchiveError(packed.get(), "read", "the checkpoint's archive");
  return Unpacker(packed.get(), directory, owner).All();
}

}  // namespace spore
