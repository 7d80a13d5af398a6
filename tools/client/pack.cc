#include "tools/client/pack.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <iterator>
#include <memory>
#include <system_error>
#include <vector>

#include "tools/client/memfd.h"

namespace spore::client {
namespace {

namespace fs = std::filesystem;

// spored refuses larger archives; noticing here saves filling memory with one.
constexpr std::size_t kMaxArchiveBytes = std::size_t{256} << 20;

struct FreeWriter {
  void operator()(archive* writer) const { archive_write_free(writer); }
};
struct FreeEntry {
  void operator()(archive_entry* entry) const { archive_entry_free(entry); }
};

class TarWriter {
 public:
  static Result<TarWriter> Open(int fd) {
    TarWriter tar;
    tar.writer_.reset(archive_write_new());
    archive* writer = tar.writer_.get();
    // BINARY: names are bytes, whatever the locale.
    if (writer == nullptr || archive_write_set_format_pax_restricted(writer) != ARCHIVE_OK ||
        archive_write_set_options(writer, "hdrcharset=BINARY") != ARCHIVE_OK ||
        archive_write_open_fd(writer, fd) != ARCHIVE_OK) {
      return LocalError("cannot start an archive");
    }
    return tar;
  }

  Result<> Add(const fs::path& source, const std::string& name) {
    struct stat info {};
    if (::lstat(source.c_str(), &info) != 0)
      return LocalError("cannot read " + source.string(), errno);
    if (!S_ISREG(info.st_mode) && !S_ISDIR(info.st_mode) && !S_ISLNK(info.st_mode)) {
      return LocalError("cannot deploy " + source.string() +
                        ": it is neither a file, a directory nor a symbolic link");
    }
    Fd fd;
    if (S_ISREG(info.st_mode)) {
      fd.Reset(::open(source.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
      if (!fd.valid() || ::fstat(fd.get(), &info) != 0) {
        return LocalError("cannot read " + source.string(), errno);
      }
    }
    std::unique_ptr<archive_entry, FreeEntry> entry(archive_entry_new());
    archive_entry_copy_pathname(entry.get(), name.c_str());
    archive_entry_set_filetype(entry.get(), info.st_mode & S_IFMT);
    archive_entry_set_perm(entry.get(), info.st_mode & 0777);
    archive_entry_set_mtime(entry.get(), info.st_mtim.tv_sec, 0);
    archive_entry_set_size(entry.get(), S_ISREG(info.st_mode) ? info.st_size : 0);
    if (S_ISLNK(info.st_mode)) {
      std::error_code error;
      const fs::path target = fs::read_symlink(source, error);
      if (error) return LocalError("cannot read link " + source.string(), error.value());
      archive_entry_copy_symlink(entry.get(), target.c_str());
    }
    if (archive_write_header(writer_.get(), entry.get()) != ARCHIVE_OK) return Failure(source);
    return fd.valid() ? Copy(source, fd) : Result<>{};
  }

  Result<> Finish() {
    if (archive_write_close(writer_.get()) != ARCHIVE_OK) return Failure("the archive's end");
    return {};
  }

 private:
  // The header has announced a size: a file that shrinks or grows meanwhile is an error, not a
  // silently damaged deployment.
  Result<> Copy(const fs::path& source, const Fd& fd) {
    std::array<char, 64 << 10> buffer{};
    for (;;) {
      const ssize_t got = ::read(fd.get(), buffer.data(), buffer.size());
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return LocalError("cannot read " + source.string(), errno);
      if (got == 0) break;
      bytes_ += static_cast<std::size_t>(got);
      if (bytes_ > kMaxArchiveBytes) {
        return LocalError("the code is larger than " + std::to_string(kMaxArchiveBytes >> 20) +
                          " MiB");
      }
      if (archive_write_data(writer_.get(), buffer.data(), static_cast<std::size_t>(got)) != got) {
        return LocalError(source.string() + " changed while it was read");
      }
    }
    if (archive_write_finish_entry(writer_.get()) != ARCHIVE_OK) return Failure(source);
    return {};
  }

  tl::unexpected<Error> Failure(const fs::path& source) {
    const char* why = archive_error_string(writer_.get());
    return LocalError("cannot pack " + source.string() + (why ? std::string(": ") + why : ""));
  }

  std::unique_ptr<archive, FreeWriter> writer_;
  std::size_t bytes_ = 0;
};

// What to pack: a file of the host and its name inside.
struct Item {
  fs::path source;
  std::string name;
};

Result<std::vector<Item>> SortedTree(const fs::path& root) {
  std::vector<Item> items;
  std::error_code error;
  fs::recursive_directory_iterator it(root, error);
  while (!error && it != fs::recursive_directory_iterator()) {
    items.push_back({it->path(), it->path().lexically_relative(root).string()});
    it.increment(error);
  }
  if (error) return LocalError("cannot read directory " + root.string(), error.value());
  if (items.empty()) return LocalError("directory " + root.string() + " is empty");
  std::sort(items.begin(), items.end(),
            [](const Item& a, const Item& b) { return a.name < b.name; });
  return items;
}

Result<Fd> PackTar(const std::vector<Item>& items) {
  auto fd = MakeMemfd("spore-code");
  if (!fd) return fd;
  auto tar = TarWriter::Open(fd->get());
  if (!tar) return tl::unexpected(tar.error());
  for (const Item& item : items) {
    if (auto added = tar->Add(item.source, item.name); !added) {
      return tl::unexpected(added.error());
    }
  }
  if (auto finished = tar->Finish(); !finished) return tl::unexpected(finished.error());
  if (auto sealed = SealMemfd(*fd); !sealed) return tl::unexpected(sealed.error());
  return fd;
}

// A single source file, rather than an archive.
bool IsSource(const std::string& path) {
  constexpr const char* kSuffixes[] = {".py", ".js", ".cjs", ".mjs", ".so"};
  return std::any_of(std::begin(kSuffixes), std::end(kSuffixes),
                     [&](const char* suffix) { return path.ends_with(suffix); });
}

}  // namespace

Result<Fd> PackCode(const std::string& path) {
  // O_NONBLOCK: a named pipe must not hang us before it is refused.
  Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct stat info {};
  if (!file.valid() || ::fstat(file.get(), &info) != 0) {
    return LocalError("cannot read " + path, errno);
  }
  if (S_ISDIR(info.st_mode)) {
    auto items = SortedTree(path);
    if (!items) return tl::unexpected(items.error());
    return PackTar(*items);
  }
  if (!S_ISREG(info.st_mode)) {
    return LocalError("cannot deploy " + path + ": it is neither a file nor a directory");
  }
  if (IsSource(path)) {
    // A link is followed, but the module keeps the name it was given here.
    std::error_code error;
    const fs::path real = fs::canonical(path, error);
    if (error) return LocalError("cannot read " + path, error.value());
    return PackTar({{real, fs::path(path).filename().string()}});
  }
  auto contents = ReadAll(file.get(), kMaxArchiveBytes, path);
  if (!contents) return tl::unexpected(contents.error());
  return SealedMemfd("spore-code", *contents);
}

}  // namespace spore::client
