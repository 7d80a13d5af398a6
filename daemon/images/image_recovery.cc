// The image store at the start: what a crash left goes, what is whole is loaded.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <set>

#include "daemon/common/directory_tree.h"
#include "daemon/common/validate.h"
#include "daemon/images/image_disk.h"

namespace spore {
namespace {

constexpr size_t kDigestPrefix = 7;  // "sha256:"
constexpr size_t kMaxRecord = 1u << 20;

uint64_t NumberOf(const std::string& name) {
  uint64_t number = 0;
  const char* end = name.data() + name.size();
  const auto parsed = std::from_chars(name.data(), end, number);
  return parsed.ec == std::errc() && parsed.ptr == end ? number : 0;
}

bool IsHex(const std::string& text) {
  return text.size() == 64 && text.find_first_not_of("0123456789abcdef") == text.npos;
}

}  // namespace

Result<std::unique_ptr<ImageDisk>> ImageDisk::Open(const ImageStoreOptions& options) {
  if (options.unpack_uid == 0)
    return MakeError(ErrorKind::kInvalid, "the unpack uid must not be 0");
  std::unique_ptr<ImageDisk> disk(new ImageDisk(options));
  SPORE_TRY(disk->Prepare());
  SPORE_TRY(disk->Recover());
  return disk;
}

Result<> ImageDisk::Prepare() {
  directory_ = options_.state_dir + "/images";
  stop_ = UniqueFd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!stop_) return SysError("make eventfd");
  SPORE_ASSIGN(const UniqueFd state, OpenDirectory(AT_FDCWD, options_.state_dir));
  SPORE_ASSIGN(const UniqueFd images, MakeDirectory(state.get(), "images", 0700, true));
  SPORE_ASSIGN(roots_, MakeDirectory(images.get(), "roots", 0700, true));
  SPORE_ASSIGN(names_, MakeDirectory(images.get(), "names", 0700, true));
  SPORE_ASSIGN(staging_, MakeDirectory(images.get(), "staging", 0700, true));
  // Roots are reached by mounts that the supervisor makes as root: nobody else has to pass.
  for (const int fd : {images.get(), roots_.get(), names_.get(), staging_.get()}) {
    if (fchown(fd, 0, 0) != 0 || fchmod(fd, 0700) != 0)
      return SysError("close to others", directory_);
  }
  SPORE_TRY(SyncDirectory(images.get(), directory_));
  return SyncDirectory(state.get(), options_.state_dir);
}

Result<> ImageDisk::Recover() {
  SPORE_ASSIGN(const std::vector<std::string> staged, EntryNames(staging_.get()));
  for (const std::string& name : staged) {
    if (auto gone = RemoveTree(staging_.get(), name); !gone)
      Report(fmt::format("images/staging/{} stays: {}", name, gone.error().Message()));
    next_staged_ = std::max(next_staged_, NumberOf(name) + 1);
  }
  SPORE_ASSIGN(const std::vector<std::string> names, EntryNames(names_.get()));
  for (const std::string& name : names) {
    if (!ValidateFunctionName(name)) {
      Report(fmt::format("images/names/: skipped {}, which is no image's name", name));
      continue;
    }
    SPORE_TRY(RecoverName(name));
  }
  return DropUnusedRoots();
}

Result<> ImageDisk::RecoverName(const std::string& name) {
  // Empty: a crash came between the first version and its name, or the last one was removed.
  if (unlinkat(names_.get(), name.c_str(), AT_REMOVEDIR) == 0) return {};
  SPORE_ASSIGN(const UniqueFd folder, OpenDirectory(names_.get(), name));
  SPORE_ASSIGN(const std::vector<std::string> entries, EntryNames(folder.get()));
  for (const std::string& entry : entries) {
    auto image = Load(name, NumberOf(entry));
    if (image) {
      versions_[name][NumberOf(entry)] = std::move(*image);
      continue;
    }
    damaged_ = true;
    Report(fmt::format("image {}@{} is damaged and skipped: {}", name, entry,
                       image.error().Message()));
  }
  return {};
}

Result<ImageManifest> ImageDisk::Load(const std::string& name, uint64_t version) const {
  const auto damaged = [](const char* why) { return MakeError(ErrorKind::kInternal, why); };
  if (version == 0) return damaged("it is no version");
  const std::string path = fmt::format("{}/names/{}/{}", directory_, name, version);
  SPORE_ASSIGN(const UniqueFd folder, OpenDirectory(AT_FDCWD, path));
  SPORE_ASSIGN(const std::string bytes, ReadSmallFile(folder.get(), "image.pb", kMaxRecord));
  v1::Image record;
  if (!record.ParseFromString(bytes)) return damaged("image.pb does not parse");
  const std::string hex = record.root().substr(std::min(kDigestPrefix, record.root().size()));
  if (record.name() != name || record.version() != version || !IsHex(hex))
    return damaged("image.pb is not this image's");
  SPORE_ASSIGN(const std::string text, ReadSmallFile(folder.get(), "manifest.toml", kMaxRecord));
  SPORE_ASSIGN(ImageManifest image, ParseImageManifest(text, path + "/manifest.toml", name));
  SPORE_ASSIGN(const UniqueFd root, OpenDirectory(roots_.get(), hex));
  (void)CheckInterpreter(image, hex);  // finds it; one that has gone is told when it is started
  image.name = fmt::format("{}@{}", name, version);
  image.path = path + "/manifest.toml";
  image.root = {.image = name,
                .version = version,
                .path = RootPath(hex),
                .digest = record.digest(),
                .root_digest = record.root(),
                .source = record.source(),
                .source_digest = record.source_digest(),
                .created_unix_ms = record.created_unix_ms(),
                .bytes = record.root_bytes(),
                .files = record.root_files()};
  // Where the manifest said nothing else.
  for (const auto& [variable, value] : record.environment()) {
    image.environment.emplace(variable, value);
    image.root.environment.push_back(variable);
  }
  return image;
}

Result<> ImageDisk::DropUnusedRoots() {
  if (damaged_) return {};
  std::set<std::string> used;
  for (const auto& [name, versions] : versions_) {
    for (const auto& [version, image] : versions)
      used.insert(image.root.root_digest.substr(kDigestPrefix));
  }
  SPORE_ASSIGN(const std::vector<std::string> roots, EntryNames(roots_.get()));
  for (const std::string& root : roots) {
    if (!used.contains(root)) SPORE_TRY(MoveAway(roots_.get(), root));
  }
  return {};
}

}  // namespace spore
