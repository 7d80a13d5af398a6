#include "daemon/unpack/image_archive.h"

#include <archive_entry.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace spore::unpack {
namespace {

constexpr std::string_view kWhiteout = ".wh.";
constexpr std::string_view kOpaque = ".wh..wh..opq";

tl::unexpected<Error> Refuse(std::string_view name, std::string_view why) {
  return MakeError(ErrorKind::kInvalid, fmt::format("image entry {}: {}", Quote(name), why));
}

// All that a root needs: who may read and execute it besides its owner, who is nobody in a sandbox.
mode_t FileMode(mode_t mode) {
  const bool runs = (mode & 0111) != 0;
  if ((mode & 0004) != 0) return runs ? 0755 : 0644;
  return (mode & 0001) != 0 ? 0711 : runs ? 0700 : 0600;
}
mode_t FolderMode(mode_t mode) {
  return (mode & 0005) == 0005 ? 0755 : (mode & 0001) != 0 ? 0711 : 0700;
}

Result<ArchivePtr> NewReader(bool compressed) {
  ArchivePtr reader(archive_read_new());
  archive* a = reader.get();
  if (a == nullptr) return SysErrorOf(ENOMEM, "make an archive reader");
  int worst = archive_read_support_format_tar(a);
  if (compressed) {
    worst =
        std::min({worst, archive_read_support_filter_gzip(a), archive_read_support_filter_bzip2(a),
                  archive_read_support_filter_xz(a), archive_read_support_filter_zstd(a)});
  }
  if (worst != ARCHIVE_OK)
    return MakeError(ErrorKind::kInternal, "prepare the archive reader: " + ArchiveReason(a));
  return reader;
}

}  // namespace

std::vector<std::string> LeftOut::Notes() const {
  std::vector<std::string> notes;
  if (special > 0) {
    notes.push_back(
        fmt::format("left out {} devices, pipes and sockets, {} first", special, first_special));
  }
  if (set_id > 0) {
    notes.push_back(fmt::format("took set-user-ID and set-group-ID bits from {} files, {} first",
                                set_id, first_set_id));
  }
  return notes;
}

Result<> ImageArchive::Write(int fd, const char* data, size_t size, const std::string& name) {
  written_ += size;
  if (written_ > limits_.bytes) {
    return MakeError(ErrorKind::kInvalid,
                     fmt::format("image entry {}: the image unpacks to more than {} bytes",
                                 Quote(name), limits_.bytes),
                     "max-image-bytes in spore.toml(5) sets the most");
  }
  for (size_t done = 0; done < size;) {
    const ssize_t n = write(fd, data + done, size - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return SysError("write", Quote(name));
    done += static_cast<size_t>(n);
  }
  return {};
}

Result<> ImageArchive::AddRegular(archive* reader, archive_entry* entry, const std::string& name) {
  SPORE_ASSIGN(UniqueFd file, tree_.AddFile(name, FileMode(archive_entry_perm(entry))));
  for (;;) {
    // Fills the holes of sparse entries with zeros, so that they count like any other byte.
    const la_ssize_t n = archive_read_data(reader, buffer_.data(), buffer_.size());
    if (n == 0) return {};
    if (n < 0) {
      return MakeError(ErrorKind::kInvalid,
                       fmt::format("image entry {}: the archive is damaged or cut short: {}",
                                   Quote(name), ArchiveReason(reader)));
    }
    SPORE_TRY(Write(file.get(), buffer_.data(), static_cast<size_t>(n), name));
  }
}

Result<> ImageArchive::AddHardLink(const std::string& target, const std::string& name,
                                   mode_t mode) {
  auto clean = CleanEntryName(target, limits_.names);
  if (!clean)
    return Refuse(name, fmt::format("it is a hard link to {}, no valid name", Quote(target)));
  if (*clean == name) return {};
  SPORE_ASSIGN(UniqueFd source, tree_.OpenFile(*clean, name));
  struct stat info = {};
  if (StatFile(source.get(), &info)) mode = info.st_mode & 0777;  // links have their target's
  SPORE_ASSIGN(UniqueFd file, tree_.AddFile(name, mode));
  for (;;) {
    const ssize_t n = read(source.get(), buffer_.data(), buffer_.size());
    if (n == 0) return {};
    if (n < 0) return SysError("read", Quote(*clean));
    SPORE_TRY(Write(file.get(), buffer_.data(), static_cast<size_t>(n), name));
  }
}

// True when the entry was one, and no file.
Result<bool> ImageArchive::Whiteout(const std::string& name) {
  const size_t slash = name.rfind('/');
  const std::string folder = slash == name.npos ? "" : name.substr(0, slash + 1);
  const std::string leaf = name.substr(folder.size());
  if (!leaf.starts_with(kWhiteout)) return false;
  if (leaf == kOpaque) {
    SPORE_TRY(tree_.HideContents(folder.empty() ? "" : folder.substr(0, folder.size() - 1)));
  } else if (!leaf.starts_with(".wh..wh.")) {  // AUFS's own, which mean nothing to others
    const std::string hidden = leaf.substr(kWhiteout.size());
    if (hidden.empty() || hidden == "." || hidden == "..")
      return Refuse(name, "it hides no valid name");
    SPORE_TRY(tree_.HideEntry(folder + hidden));
  }
  return true;
}

Result<> ImageArchive::AddEntry(archive* reader, archive_entry* entry, bool layer) {
  const char* raw = archive_entry_pathname(entry);
  if (raw == nullptr) {
    return MakeError(ErrorKind::kInvalid, "an entry's name is empty or not valid UTF-8");
  }
  SPORE_ASSIGN(const std::string name, CleanEntryName(raw, limits_.names));
  if (layer) {
    SPORE_ASSIGN(const bool whiteout, Whiteout(name));
    if (whiteout) return {};
  }
  const mode_t mode = archive_entry_perm(entry);
  if (const char* target = archive_entry_hardlink(entry))
    return AddHardLink(target, name, FileMode(mode));
  switch (archive_entry_filetype(entry)) {
    case AE_IFREG:
      if ((mode & (S_ISUID | S_ISGID)) != 0 && left_out_.set_id++ == 0)
        left_out_.first_set_id = Quote(name);
      return AddRegular(reader, entry, name);
    case AE_IFDIR:
      return tree_.AddDirectory(name, FolderMode(mode));
    case AE_IFLNK: {
      const char* target = archive_entry_symlink(entry);
      return tree_.AddSymlink(name, target != nullptr ? target : "");
    }
    default:
      if (left_out_.special++ == 0) left_out_.first_special = Quote(name);
      return {};
  }
}

Result<> ImageArchive::Add(ByteSource& source, bool compressed, bool layer) {
  SPORE_ASSIGN(ArchivePtr reader, NewReader(compressed));
  archive* a = reader.get();
  SPORE_TRY(source.OpenIn(a));
  if (layer) tree_.BeginLayer();
  for (uint64_t entries = 0;; ++entries) {
    archive_entry* entry = nullptr;
    const int status = archive_read_next_header(a, &entry);
    if (status == ARCHIVE_EOF) break;
    if (status != ARCHIVE_OK && status != ARCHIVE_WARN) {
      SPORE_TRY(source.error());
      if (archive_errno(a) == ENOMEM) return SysErrorOf(ENOMEM, "read the archive");
      if (entries == 0)
        return MakeError(ErrorKind::kInvalid,
                         "this cannot be read as a tar archive: " + ArchiveReason(a));
      return MakeError(ErrorKind::kInvalid,
                       fmt::format("after entry number {}: the archive is damaged or cut short: {}",
                                   entries, ArchiveReason(a)));
    }
    auto added = AddEntry(a, entry, layer);
    SPORE_TRY(source.error());  // why an entry could not be read to its end
    SPORE_TRY(added);
  }
  // A tar archive ends with a block of zeros; where libarchive finds nothing at all, the rest has
  // been lost between two entries.
  const bool ended = archive_filter_bytes(a, 0) > archive_read_header_position(a);
  SPORE_TRY(source.Drain());
  if (!ended)
    return MakeError(ErrorKind::kInvalid, "the tar archive is cut short: it has no end mark");
  return {};
}

}  // namespace spore::unpack
