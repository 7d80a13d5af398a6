#include "daemon/unpack/extract.h"

#include <archive.h>
#include <archive_entry.h>
#include <fmt/format.h>
#include <nettle/sha2.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <memory>

#include "daemon/unpack/tree_writer.h"
#include "daemon/unpack/zip_names.h"

namespace spore::unpack {
namespace {

// A small archive may not become a large tree: beyond the floor, at most this many times its size.
constexpr uint64_t kMaxRatio = 200;
constexpr uint64_t kRatioFloor = 16ull << 20;
constexpr size_t kBufferBytes = 64 * 1024;

struct CloseArchive {
  void operator()(archive* a) const { archive_read_free(a); }
};
using ArchivePtr = std::unique_ptr<archive, CloseArchive>;

tl::unexpected<Error> Refuse(std::string_view name, std::string_view why) {
  return MakeError(ErrorKind::kInvalid, fmt::format("archive entry {}: {}", Quote(name), why));
}

class Extractor {
 public:
  Extractor(std::span<const std::byte> bytes, int directory, const ExtractLimits& limits)
      : input_(bytes), limits_(limits), writer_(directory, limits.files) {}
  Result<Extracted> Run();

 private:
  Result<> Open();
  Result<> AddEntry(archive_entry* entry);
  Result<> AddRegular(archive_entry* entry, const std::string& name);
  Result<> AddHardLink(const char* target, const std::string& name);
  Result<> Write(int fd, size_t size, const std::string& name);
  Result<> CheckEnd() const;
  tl::unexpected<Error> Damaged(const std::string& where) const;
  tl::unexpected<Error> Unreadable() const;

  std::span<const std::byte> input_;
  ExtractLimits limits_;
  TreeWriter writer_;
  ArchivePtr archive_;
  uint64_t written_ = 0;
  bool any_file_ = false;
  std::array<char, kBufferBytes> buffer_;
};

// libarchive's own words, made fit for one line.
std::string Reason(archive* a) {
  const char* text = archive_error_string(a);
  std::string reason = text != nullptr ? text : "unknown error";
  for (char& c : reason) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
  }
  return reason.substr(0, 300);
}

tl::unexpected<Error> Extractor::Damaged(const std::string& where) const {
  if (archive_errno(archive_.get()) == ENOMEM) {
    return SysErrorOf(ENOMEM, "unpack", where);
  }
  return MakeError(ErrorKind::kInvalid, fmt::format("{}: the archive is damaged or cut short: {}",
                                                    where, Reason(archive_.get())));
}

tl::unexpected<Error> Extractor::Unreadable() const {
  std::string_view bytes(reinterpret_cast<const char*>(input_.data()), input_.size());
  if (bytes.starts_with("PK\5\6")) {
    return MakeError(ErrorKind::kInvalid, "the archive holds no file");
  }
  if (bytes.starts_with("PK\3\4")) {
    return MakeError(ErrorKind::kInvalid,
                     "the zip archive is damaged or cut short: it has no central directory");
  }
  // A filter beside the plain "none" recognised its own.
  if (archive_filter_count(archive_.get()) > 1) return Damaged("at its start");
  return MakeError(ErrorKind::kInvalid,
                   "this cannot be read as a zip or tar archive: " + Reason(archive_.get()));
}

Result<> Extractor::CheckEnd() const {
  archive* a = archive_.get();
  bool tar = (archive_format(a) & ARCHIVE_FORMAT_BASE_MASK) == ARCHIVE_FORMAT_TAR;
  // A tar archive ends with a block of zeros; where libarchive finds nothing at all, the rest has
  // been lost between two entries.
  if (!tar || archive_filter_bytes(a, 0) > archive_read_header_position(a)) return {};
  return MakeError(ErrorKind::kInvalid, "the tar archive is cut short: it has no end mark");
}

Result<> Extractor::Open() {
  archive_.reset(archive_read_new());
  archive* a = archive_.get();
  if (a == nullptr) return SysErrorOf(ENOMEM, "make an archive reader");
  // Only what needs no helper program. Zip by its central directory, like every zip tool: a
  // reader that trusts the local headers instead could be shown other files than `unzip -l` shows.
  int worst =
      std::min({archive_read_support_filter_gzip(a), archive_read_support_filter_bzip2(a),
                archive_read_support_filter_xz(a), archive_read_support_filter_zstd(a),
                archive_read_support_format_tar(a), archive_read_support_format_zip_seekable(a)});
  if (worst != ARCHIVE_OK) {
    return MakeError(ErrorKind::kInternal, "prepare the archive reader: " + Reason(a));
  }
  if (archive_read_open_memory(a, input_.data(), input_.size()) != ARCHIVE_OK) return Unreadable();
  return {};
}

Result<> Extractor::Write(int fd, size_t size, const std::string& name) {
  written_ += size;
  if (written_ > limits_.bytes) {
    return Refuse(name, fmt::format("the archive unpacks to more than {} bytes", limits_.bytes));
  }
  if (written_ > kRatioFloor && written_ / kMaxRatio > input_.size()) {
    return Refuse(name, fmt::format("the archive unpacks to more than {} times its size ({} bytes)",
                                    kMaxRatio, input_.size()));
  }
  for (size_t done = 0; done < size;) {
    ssize_t n = write(fd, buffer_.data() + done, size - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return SysError("write", Quote(name));
    done += static_cast<size_t>(n);
  }
  return {};
}

Result<> Extractor::AddRegular(archive_entry* entry, const std::string& name) {
  SPORE_ASSIGN(UniqueFd file, writer_.AddFile(name, (archive_entry_perm(entry) & 0100) != 0));
  any_file_ = true;
  for (;;) {
    // Fills the holes of sparse entries with zeros, so that they count like any other byte.
    la_ssize_t n = archive_read_data(archive_.get(), buffer_.data(), buffer_.size());
    if (n == 0) return {};
    if (n < 0) return Damaged("archive entry " + Quote(name));
    SPORE_TRY(Write(file.get(), static_cast<size_t>(n), name));
  }
}

Result<> Extractor::AddHardLink(const char* target, const std::string& name) {
  auto clean = CleanEntryName(target, limits_.names);
  if (!clean) {
    return Refuse(name, fmt::format("it is a hard link to {}, which is outside the archive or no "
                                    "valid name",
                                    Quote(target)));
  }
  bool executable = false;
  SPORE_ASSIGN(UniqueFd source, writer_.OpenFile(*clean, name, &executable));
  SPORE_ASSIGN(UniqueFd file, writer_.AddFile(name, executable));
  for (;;) {
    ssize_t n = read(source.get(), buffer_.data(), buffer_.size());
    if (n == 0) return {};
    if (n < 0) return SysError("read", Quote(*clean));
    SPORE_TRY(Write(file.get(), static_cast<size_t>(n), name));
  }
}

Result<> Extractor::AddEntry(archive_entry* entry) {
  const char* raw = archive_entry_pathname(entry);
  if (raw == nullptr) {
    return MakeError(ErrorKind::kInvalid, fmt::format("archive entry number {}: the name is empty "
                                                      "or not valid UTF-8",
                                                      writer_.files() + 1));
  }
  SPORE_ASSIGN(std::string name, CleanEntryName(raw, limits_.names));
  if (archive_entry_is_encrypted(entry)) return Refuse(name, "it is encrypted");
  if (const char* target = archive_entry_hardlink(entry)) return AddHardLink(target, name);
  switch (archive_entry_filetype(entry)) {
    case AE_IFREG:
      return AddRegular(entry, name);
    case AE_IFDIR:
      return writer_.AddDirectory(name);
    case AE_IFLNK: {
      const char* target = archive_entry_symlink(entry);
      std::string to = target != nullptr ? target : "";
      SPORE_TRY(CheckLinkTarget(name, to, limits_.names));
      return writer_.AddSymlink(name, to);
    }
    case AE_IFIFO:
      return Refuse(name, "it is a named pipe; only files, folders and links are allowed");
    case AE_IFSOCK:
      return Refuse(name, "it is a socket; only files, folders and links are allowed");
    case AE_IFCHR:
    case AE_IFBLK:
      return Refuse(name, "it is a device; only files, folders and links are allowed");
    default:
      return Refuse(name, "it is of no known type; only files, folders and links are allowed");
  }
}

Result<Extracted> Extractor::Run() {
  if (input_.empty()) return MakeError(ErrorKind::kInvalid, "the archive is empty (0 bytes)");
  SPORE_TRY(CheckZipNames(input_));
  SPORE_TRY(Open());
  uint64_t entries = 0;
  for (;;) {
    archive_entry* entry = nullptr;
    int status = archive_read_next_header(archive_.get(), &entry);
    if (status == ARCHIVE_EOF) break;
    // Nothing is known of the format until the first header was read; a warning (an attribute
    // that means nothing to us) is no reason to refuse.
    if (status != ARCHIVE_OK && status != ARCHIVE_WARN) {
      if (entries == 0 && archive_format(archive_.get()) == 0) return Unreadable();
      return Damaged(fmt::format("after entry number {}", entries));
    }
    ++entries;
    SPORE_TRY(AddEntry(entry));
  }
  SPORE_TRY(CheckEnd());
  if (!any_file_) return MakeError(ErrorKind::kInvalid, "the archive holds no file");
  SPORE_TRY(writer_.CheckSymlinks());
  return Extracted{written_, writer_.files()};
}

}  // namespace

Result<Extracted> Extract(std::span<const std::byte> archive, int directory,
                          const ExtractLimits& limits) {
  return std::make_unique<Extractor>(archive, directory, limits)->Run();
}

std::string Digest(std::span<const std::byte> archive) {
  sha256_ctx context;
  sha256_init(&context);
  sha256_update(&context, archive.size(), reinterpret_cast<const uint8_t*>(archive.data()));
  std::array<uint8_t, SHA256_DIGEST_SIZE> digest;
  sha256_digest(&context, digest.size(), digest.data());
  std::string text = "sha256:";
  for (uint8_t byte : digest) text += fmt::format("{:02x}", byte);
  return text;
}

}  // namespace spore::unpack
