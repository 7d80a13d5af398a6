// spore-unpack: unpacks an untrusted archive for spored, without any power of spored's.
//
//   descriptor 3  the archive, a memfd sealed against change; with --image 1 any file or pipe;
//                 with --plain 1, an archive of plain files only, any file
//   descriptor 4  the directory to fill, owned by --uid, empty
//   stdout        "<digest> <bytes> <files>" when done
//   stderr        of an image what was left out, a line each; else one line, exit 2 when the
//   archive is at fault, 1 when we are
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <clocale>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>

#include "daemon/unpack/confine.h"
#include "daemon/unpack/extract.h"
#include "daemon/unpack/image.h"
#include "daemon/unpack/plain.h"

namespace spore::unpack {
namespace {

constexpr int kArchiveFd = 3;
constexpr int kDirectoryFd = 4;
constexpr uint64_t kWorkingMemory = 512ull
                                    << 20;  // libraries, libarchive's tables, xz's dictionary

using Settings = std::map<std::string, uint64_t>;

Result<Settings> ParseArguments(int argc, char** argv) {
  Settings settings = {{"--max-bytes", 0}, {"--max-files", 0},   {"--max-path", 0},
                       {"--max-depth", 0}, {"--cpu-seconds", 0}, {"--uid", 0},
                       {"--gid", 0}};
  std::map<std::string, uint64_t> optional = {{"--image", 0}, {"--plain", 0}};
  for (int i = 1; i < argc; i += 2) {
    auto found = settings.find(argv[i]);
    if (found == settings.end()) found = optional.find(argv[i]);
    char* end = nullptr;
    if (found == optional.end() || i + 1 == argc) {
      return MakeError(ErrorKind::kInternal, fmt::format("usage: unexpected \"{}\"", argv[i]));
    }
    found->second = strtoull(argv[i + 1], &end, 10);
    if (*argv[i + 1] < '1' || *argv[i + 1] > '9' || *end != '\0') {
      return MakeError(ErrorKind::kInternal,
                       fmt::format("{} \"{}\" is no count", argv[i], argv[i + 1]));
    }
  }
  for (const auto& [name, value] : settings) {
    if (value == 0) return MakeError(ErrorKind::kInternal, "usage: missing " + name);
    if (value > UINT32_MAX && name != "--max-bytes") {
      return MakeError(ErrorKind::kInternal, name + " is too large");
    }
  }
  settings.merge(optional);
  return settings;
}

std::string Report(const std::string& digest, uint64_t bytes, uint64_t files) {
  return fmt::format("{} {} {}\n", digest, bytes, files);
}

Result<std::string> RunImage(const ImageLimits& limits) {
  SPORE_ASSIGN(ImageMade made, UnpackImage(kArchiveFd, kDirectoryFd, limits));
  std::string notes;
  for (const std::string& note : made.notes) notes += note + "\n";
  if (write(STDERR_FILENO, notes.data(), notes.size()) != static_cast<ssize_t>(notes.size()))
    return SysError("write notes");
  return Report(made.digest, made.bytes, made.entries);
}

Result<std::string> RunPlain(const ImageLimits& limits) {
  SPORE_ASSIGN(PlainMade made, UnpackPlain(kArchiveFd, kDirectoryFd, limits));
  return Report(made.digest, made.bytes, made.entries);
}

Result<std::string> Run(int argc, char** argv) {
  SPORE_ASSIGN(Settings settings, ParseArguments(argc, argv));
  auto number = [&](const char* name) { return static_cast<uint32_t>(settings[name]); };
  // Names in archives are UTF-8; the locale is built into the C library.
  if (setlocale(LC_CTYPE, "C.UTF-8") == nullptr) {
    return MakeError(ErrorKind::kInternal, "the C.UTF-8 locale is missing");
  }
  const bool plain = settings["--plain"] != 0;
  const bool image = settings["--image"] != 0 || plain;
  struct stat info = {};
  if (fstat(kArchiveFd, &info) != 0) return SysError("stat the archive");
  // An image's is read, not mapped, and may be larger than memory.
  uint64_t size = image ? 0 : static_cast<uint64_t>(info.st_size);
  SPORE_TRY(Confine({.uid = number("--uid"),
                     .gid = number("--gid"),
                     .directory = kDirectoryFd,
                     .keep_fds_below = kDirectoryFd + 1,
                     .file_bytes = settings["--max-bytes"],
                     .memory_bytes = size + kWorkingMemory,
                     .cpu_seconds = number("--cpu-seconds"),
                     .replaces = image}));
  const NameLimits names = {number("--max-path"), number("--max-depth")};
  if (plain) return RunPlain({settings["--max-bytes"], number("--max-files"), names});
  if (image) return RunImage({settings["--max-bytes"], number("--max-files"), names});
  std::span<const std::byte> archive;
  if (size > 0) {
    // Mapped, not read: the client shares the descriptor's offset and could move it at any moment.
    // The seals that spored has checked keep the contents and the size as they are.
    void* memory = mmap(nullptr, size, PROT_READ, MAP_SHARED, kArchiveFd, 0);
    if (memory == MAP_FAILED) return SysError("map the archive");
    archive = {static_cast<const std::byte*>(memory), size};
  }
  std::string digest = Digest(archive);
  ExtractLimits limits = {settings["--max-bytes"], number("--max-files"), names};
  SPORE_ASSIGN(Extracted extracted, Extract(archive, kDirectoryFd, limits));
  return Report(digest, extracted.bytes, extracted.files);
}

}  // namespace
}  // namespace spore::unpack

int main(int argc, char** argv) {
  auto done = spore::unpack::Run(argc, argv);
  bool invalid = !done && done.error().kind == spore::ErrorKind::kInvalid;
  std::string text = done ? *done : done.error().Message() + "\n";
  ssize_t sent = write(done ? STDOUT_FILENO : STDERR_FILENO, text.data(), text.size());
  if (sent != static_cast<ssize_t>(text.size())) _exit(1);
  // Without the libraries' own farewells: they have nothing to save.
  _exit(done ? 0 : invalid ? 2 : 1);
}
