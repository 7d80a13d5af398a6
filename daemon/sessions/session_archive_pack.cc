#include <archive_entry.h>
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <memory>
#include <set>
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
using session_archive::kMaxTarget;

constexpr int kFolderFlags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW;
constexpr uint64_t kPage = 4096;
constexpr size_t kMaxImages = 20000;  // several for each process

class Packer {
 public:
  explicit Packer(archive* packed) : packed_(packed), buffer_(kChunk) {}

  Result<> All(int directory) {
    SPORE_TRY(Put(kMark, sizeof kMark));
    SPORE_TRY(Top(directory, wire::kCheckpointImages));
    SPORE_TRY(Top(directory, "files"));
    return PutKind(Kind::kEnd);
  }
  uint64_t unpacked_bytes() const { return unpacked_bytes_; }

 private:
  Result<> Put(const void* data, size_t size) {
    if (archive_write_data(packed_, data, size) != static_cast<la_ssize_t>(size))
      return ArchiveError(packed_, "write", "the checkpoint's archive");
    return {};
  }
  Result<> PutKind(Kind kind) { return Put(&kind, 1); }
  Result<> PutNumber(uint64_t number) {
    uint8_t bytes[8];
    for (int i = 0; i < 8; ++i) bytes[i] = static_cast<uint8_t>(number >> (8 * i));
    return Put(bytes, sizeof bytes);
  }
  Result<> PutText(const std::string& text) {
    SPORE_TRY(PutNumber(text.size()));
    return Put(text.data(), text.size());
  }
  Result<> PutTime(const timespec& time) {
    SPORE_TRY(PutNumber(static_cast<uint64_t>(time.tv_sec)));
    return PutNumber(static_cast<uint64_t>(time.tv_nsec));
  }
  Result<> PutHead(Kind kind, const std::string& name, const struct stat& status) {
    SPORE_TRY(PutKind(kind));
    SPORE_TRY(PutText(name));
    SPORE_TRY(PutNumber(status.st_mode & 07777));
    return PutTime(status.st_mtim);
  }

  Result<> Top(int directory, const std::string& name) {
    struct stat status {};
    if (fstatat(directory, name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0)
      return SysError("stat", name);
    in_images_ = name == wire::kCheckpointImages;
    return Folder(directory, name, name, status, 0);
  }

  Result<> Folder(int parent, const std::string& name, const std::string& path,
                  const struct stat& status, size_t depth) {
    if (depth > kMaxDepth)
      return MakeError(ErrorKind::kPrecondition, "its folders are nested too deeply");
    UniqueFd folder(openat(parent, name.c_str(), kFolderFlags | O_CLOEXEC));
    if (!folder) return SysError("open the folder", name);
    SPORE_ASSIGN(std::vector<std::string> names, ListNames(folder.get()));
    std::sort(names.begin(), names.end());
    if (in_images_) SPORE_TRY(CheckImages(names));
    SPORE_TRY(PutHead(Kind::kFolder, name, status));
    for (const std::string& inner : names) SPORE_TRY(Entry(folder.get(), inner, path, depth + 1));
    return PutKind(Kind::kUp);
  }

  static Result<> CheckImages(const std::vector<std::string>& names) {
    if (names.size() > kMaxImages)
      return MakeError(ErrorKind::kInternal, "the dump holds files that CRIU does not make");
    if (!std::binary_search(names.begin(), names.end(), "inventory.img"))
      return MakeError(ErrorKind::kInternal, "the dump is not whole: it has no inventory");
    return {};
  }

  Result<> Entry(int parent, const std::string& name, const std::string& above, size_t depth) {
    struct stat status {};
    if (fstatat(parent, name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0)
      return SysError("stat", name);
    const mode_t kind = status.st_mode & S_IFMT;
    // CRIU may have been taken over by the tenant whose memory it read.
    if (in_images_ && (kind != S_IFREG || status.st_nlink != 1))
      return MakeError(ErrorKind::kInternal, "the dump holds what is no file of CRIU's");
    const std::string path = above + "/" + name;
    switch (kind) {
      case S_IFDIR:
        return Folder(parent, name, path, status, depth);
      case S_IFREG:
        return File(parent, name, path, status);
      case S_IFLNK:
        return Symlink(parent, name, status);
      case S_IFIFO:
        return PutHead(Kind::kFifo, name, status);
      default:
        return MakeError(ErrorKind::kInternal, "its files hold what no session's do");
    }
  }

  Result<> Symlink(int parent, const std::string& name, const struct stat& status) {
    std::string target(kMaxTarget + 1, '\0');
    const ssize_t size = readlinkat(parent, name.c_str(), target.data(), target.size());
    if (size < 0) return SysError("readlink", name);
    target.resize(static_cast<size_t>(size));
    unpacked_bytes_ += kPage;
    SPORE_TRY(PutKind(Kind::kSymlink));
    SPORE_TRY(PutText(name));
    SPORE_TRY(PutTime(status.st_mtim));
    return PutText(target);
  }

  Result<> File(int parent, const std::string& name, const std::string& path,
                const struct stat& status) {
    if (status.st_nlink > 1 && !in_images_) {
      const auto [first, is_new] = linked_.emplace(status.st_ino, path);
      if (!is_new) {
        SPORE_TRY(PutKind(Kind::kLink));
        SPORE_TRY(PutText(name));
        return PutText(first->second);
      }
    }
    UniqueFd file(openat(parent, name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
    if (!file) return SysError("open", name);
    SPORE_TRY(PutHead(Kind::kFile, name, status));
    SPORE_TRY(PutNumber(static_cast<uint64_t>(status.st_size)));
    return Contents(file.get(), status.st_size);
  }

  // Holes are not read: their size is what the tenant says.
  Result<> Contents(int file, off_t size) {
    for (off_t at = 0; at < size;) {
      at = lseek(file, at, SEEK_DATA);
      if (at < 0 && errno == ENXIO) break;
      if (at < 0) return SysError("look for data in a file");
      const off_t hole = lseek(file, at, SEEK_HOLE);
      if (hole < 0) return SysError("look for holes in a file");
      const off_t end = std::min(size, hole);
      if (end <= at) break;
      SPORE_TRY(PutNumber(static_cast<uint64_t>(at)));
      SPORE_TRY(PutNumber(static_cast<uint64_t>(end - at)));
      unpacked_bytes_ += (static_cast<uint64_t>(end - at) + kPage - 1) / kPage * kPage;
      SPORE_TRY(Bytes(file, at, end));
      at = end;
    }
    SPORE_TRY(PutNumber(0));
    return PutNumber(0);
  }

  Result<> Bytes(int file, off_t at, off_t end) {
    while (at < end) {
      const size_t most = std::min(buffer_.size(), static_cast<size_t>(end - at));
      const ssize_t got = TEMP_FAILURE_RETRY(pread(file, buffer_.data(), most, at));
      if (got < 0) return SysError("read a file of the session");
      if (got == 0) return MakeError(ErrorKind::kInternal, "the dump changes while it is packed");
      SPORE_TRY(Put(buffer_.data(), static_cast<size_t>(got)));
      at += got;
    }
    return {};
  }

  archive* packed_;
  std::vector<char> buffer_;
  bool in_images_ = false;
  uint64_t unpacked_bytes_ = 0;
  std::map<ino_t, std::string> linked_;  // with more names than one
};

}  // namespace

Result<CheckpointArchive> PackSession(int directory, int file, uint64_t max_bytes) {
  ArchiveOutput output(file, max_bytes);
  const ArchiveWriter packed(archive_write_new(), &archive_write_free);
  archive_write_set_format_raw(packed.get());
  SPORE_TRY(output.OpenIn(packed.get()));
  const std::unique_ptr<archive_entry, decltype(&archive_entry_free)> entry(archive_entry_new(),
                                                                            &archive_entry_free);
  archive_entry_set_filetype(entry.get(), AE_IFREG);
  if (archive_write_header(packed.get(), entry.get()) != ARCHIVE_OK)
    return ArchiveError(packed.get(), "begin", "the checkpoint's archive");
  Packer packer(packed.get());
  const auto pack = [&]() -> Result<> {
    SPORE_TRY(packer.All(directory));
    if (archive_write_close(packed.get()) != ARCHIVE_OK)
      return ArchiveError(packed.get(), "finish", "the checkpoint's archive");
    return {};
  };
  if (auto done = pack(); !done) {
    if (!output.full()) return tl::unexpected(std::move(done).error());
    return MakeError(ErrorKind::kOverloaded, "it takes more than the " + std::to_string(max_bytes) +
                                                 " bytes that are left for checkpoints");
  }
  CheckpointArchive made;
  made.digest = output.Digest();
  made.bytes = output.bytes();
  made.unpacked_bytes = packer.unpacked_bytes();
  return made;
}

}  // namespace spore
