#include "daemon/images/image_disk.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/openat2.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "daemon/common/directory_tree.h"
#include "daemon/common/runtimes.h"
#include "daemon/common/unix_time.h"
#include "daemon/config/toml_reader.h"
#include "daemon/functions/function_store_unpack.h"
#include "daemon/images/archive_environment.h"
#include "sandbox/sys/fault_point.h"

namespace spore {
namespace {

constexpr uint32_t kMaxEntries = 1'000'000;
constexpr uint32_t kMaxDepth = 128;
constexpr uint32_t kMaxPath = 4095;
constexpr uint32_t kMaxSeconds = 3600;
constexpr size_t kMaxListing = 1u << 30;
constexpr size_t kMaxManifest = 1u << 20;
constexpr char kDigestPrefix[] = "sha256:";

Result<> WriteFile(int folder, const char* name, std::string_view bytes) {
  UniqueFd file(openat(folder, name, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600));
  if (!file) return SysError("create", name);
  for (size_t done = 0; done < bytes.size();) {
    const ssize_t n = write(file.get(), bytes.data() + done, bytes.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return SysError("write", name);
    done += static_cast<size_t>(n);
  }
  if (fsync(file.get()) != 0) return SysError("fsync", name);
  return {};
}

bool IsThere(int folder, const std::string& name) {
  struct stat info = {};
  return fstatat(folder, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0;
}

// Whether `path`, as a process in the image would find it, is a file that it may execute.
bool RunsIn(int root, const std::string& path) {
  open_how how = {};
  how.flags = O_PATH | O_CLOEXEC;
  how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV;
  const UniqueFd file(static_cast<int>(syscall(SYS_openat2, root, path.c_str(), &how, sizeof how)));
  struct stat info = {};
  return file && fstat(file.get(), &info) == 0 && S_ISREG(info.st_mode) &&
         (info.st_mode & 0005) == 0005;
}

// Names a version by all that it is.
std::string DigestOf(const std::string& manifest, const std::string& root_hex,
                     const std::map<std::string, std::string>& environment) {
  std::string text = "manifest " + Sha256Hex(manifest) + "\nroot " + root_hex + "\n";
  if (!environment.empty())
    text += "environment " + Sha256Hex(ArchiveEnvironmentText(environment)) + "\n";
  return kDigestPrefix + Sha256Hex(text);
}

}  // namespace

Result<std::string> CompleteManifest(const ImageImport& import) {
  const std::string file = "manifest of image " + import.name;
  SPORE_ASSIGN(const toml::table table, ParseToml(import.manifest, file));
  std::string text = import.manifest;
  if (!import.runtime.empty() && table.get("runtime") == nullptr)
    text = "runtime = \"" + import.runtime + "\"\n" + text;
  SPORE_ASSIGN(const ImageManifest parsed, ParseImageManifest(text, file, import.name));
  if (!import.runtime.empty() && parsed.runtime != import.runtime) {
    return MakeError(
        ErrorKind::kInvalid,
        "runtime: \"" + import.runtime + "\", but the manifest says \"" + parsed.runtime + "\"");
  }
  return text;
}

Result<StagedFolder> ImageDisk::Stage() {
  std::string name = std::to_string(next_staged_++);
  SPORE_ASSIGN(UniqueFd folder, MakeDirectory(staging_.get(), name, 0700));
  return StagedFolder(staging_.get(), name, std::move(folder));
}

std::string ImageDisk::RootPath(const std::string& hex) const {
  return directory_ + "/roots/" + hex + "/tree";
}

void ImageDisk::Report(const std::string& line) const {
  if (options_.report) options_.report(line);
}

void ImageDisk::Stop() {
  stopping_ = true;
  (void)eventfd_write(stop_.get(), 1);
}

Result<> ImageDisk::PlaceRoot(const StagedFolder& staged, const UniqueFd& tree,
                              const TreeListing& listing, const std::string& hex) {
  if (IsThere(roots_.get(), hex)) return {};  // another version has the same
  SPORE_ASSIGN(const UniqueFd root, MakeDirectory(staged.folder(), "new-root", 0700));
  SPORE_TRY(WriteFile(root.get(), "listing", listing.text));
  if (renameat(staged.folder(), "unpacked/root", root.get(), "tree") != 0)
    return SysError("move the root");
  if (syncfs(tree.get()) != 0) return SysError("syncfs", directory_);
  if (renameat2(staged.folder(), "new-root", roots_.get(), hex.c_str(), RENAME_NOREPLACE) != 0)
    return SysError("rename into place", hex);
  return SyncDirectory(roots_.get(), "roots");
}

Result<ImageDisk::Root> ImageDisk::MakeRoot(const StagedFolder& staged, const UniqueFd& archive) {
  SPORE_ASSIGN(const UniqueFd unpacked, MakeDirectory(staged.folder(), "unpacked", 0700));
  if (fchown(unpacked.get(), options_.unpack_uid, options_.unpack_uid) != 0)
    return SysError("chown to the unpack uid", std::to_string(options_.unpack_uid));
  UnpackLimits limits;
  limits.unpacked_bytes = options_.max_bytes;
  limits.files = kMaxEntries;
  limits.path_bytes = kMaxPath;
  limits.depth = kMaxDepth;
  limits.seconds = kMaxSeconds;
  SPORE_ASSIGN(Unpacked done, RunUnpack({.program = options_.unpack_program,
                                         .uid = options_.unpack_uid,
                                         .archive = archive.get(),
                                         .directory = unpacked.get(),
                                         .stop = stop_.get(),
                                         .image = true,
                                         .limits = limits}));
  SPORE_TRY(FaultPoint("image-unpacked"));
  SPORE_ASSIGN(const UniqueFd tree, OpenDirectory(unpacked.get(), "root"));
  SPORE_TRY(TakeOverTree(tree.get(), {.owner = options_.unpack_uid,
                                      .max_bytes = options_.max_bytes,
                                      .max_entries = kMaxEntries,
                                      .max_depth = kMaxDepth,
                                      .keep_modes = true}));
  if (fchmod(tree.get(), 0755) != 0) return SysError("chmod the root");
  SPORE_ASSIGN(const TreeListing listing, ListTree(tree.get(), stopping_));
  SPORE_TRY(FaultPoint("image-listed"));
  Root root{.hex = Sha256Hex(listing.text),
            .bytes = listing.bytes,
            .files = listing.entries,
            .source_digest = std::move(done.digest),
            .notes = std::move(done.notes)};
  if (IsThere(unpacked.get(), "environment")) {
    SPORE_ASSIGN(root.environment,
                 ReadSmallFile(unpacked.get(), "environment", kMaxArchiveEnvironment));
  }
  SPORE_TRY(PlaceRoot(staged, tree, listing, root.hex));
  return root;
}

// Where the manifest names no interpreter, the usual places are looked at.
Result<> ImageDisk::CheckInterpreter(ImageManifest& image, const std::string& root_hex) const {
  if (FindRuntime(image.runtime)->runs_programs) return {};  // it brings its own
  SPORE_ASSIGN(const UniqueFd root, OpenDirectory(AT_FDCWD, RootPath(root_hex)));
  if (RunsIn(root.get(), image.interpreter)) return {};
  const std::string usual(FindRuntime(image.runtime)->interpreter);
  const std::string local = "/usr/local/bin/" + usual.substr(usual.rfind('/') + 1);
  const bool chosen = image.interpreter != usual;
  if (!chosen && RunsIn(root.get(), local)) {
    image.interpreter = local;
    return {};
  }
  return MakeError(
      ErrorKind::kInvalid,
      fmt::format("the root has no {}{}, for runtime {}", image.interpreter,
                  chosen ? std::string() : " and no " + local, image.runtime),
      chosen ? "" : "the key interpreter of a manifest names another; see spore-image(5)");
}

Result<> ImageDisk::PlaceVersion(const StagedFolder& staged, const ImageImport& import,
                                 const std::string& manifest, const v1::Image& record) {
  SPORE_ASSIGN(const UniqueFd folder, MakeDirectory(staged.folder(), "version", 0700));
  SPORE_TRY(WriteFile(folder.get(), "manifest.toml", manifest));
  SPORE_TRY(WriteFile(folder.get(), "image.pb", record.SerializeAsString()));
  SPORE_TRY(SyncDirectory(folder.get(), "version"));
  SPORE_ASSIGN(const UniqueFd name, MakeDirectory(names_.get(), import.name, 0700, true));
  SPORE_TRY(SyncDirectory(names_.get(), "names"));
  const std::string version = std::to_string(record.version());
  if (renameat2(staged.folder(), "version", name.get(), version.c_str(), RENAME_NOREPLACE) != 0)
    return SysError("rename into place", import.name + "/" + version);
  auto durable = FaultPoint("image-placed");
  if (durable) durable = SyncDirectory(name.get(), import.name);
  if (!durable) (void)MoveAway(name.get(), version);
  return durable;
}

Result<ImportedImage> ImageDisk::Import(const ImageImport& import, const UniqueFd& archive) {
  SPORE_ASSIGN(const std::string manifest, CompleteManifest(import));
  SPORE_ASSIGN(const StagedFolder staged, Stage());
  SPORE_TRY(FaultPoint("image-staged"));
  auto made = MakeRoot(staged, archive);
  if (!made) return tl::unexpected(std::move(made).error());
  auto& known = versions_[import.name];
  const auto finish = [&]() -> Result<ImportedImage> {
    SPORE_TRY(FaultPoint("image-root-placed"));
    SPORE_ASSIGN(ImageManifest image, ParseImageManifest(manifest, import.name, import.name));
    SPORE_TRY(CheckInterpreter(image, made->hex));
    SPORE_ASSIGN(ArchiveEnvironment environment,
                 TakeArchiveEnvironment(made->environment, image.environment));
    made->notes.insert(made->notes.end(), environment.notes.begin(), environment.notes.end());
    const std::string digest = DigestOf(manifest, made->hex, environment.variables);
    if (!known.empty() && known.rbegin()->second.root.digest == digest)
      return ImportedImage{known.rbegin()->second, true, std::move(made->notes)};
    const uint64_t version = known.empty() ? 1 : known.rbegin()->first + 1;
    v1::Image record;
    record.set_name(import.name);
    record.set_version(version);
    record.set_digest(digest);
    record.set_root(kDigestPrefix + made->hex);
    record.set_source(import.source);
    record.set_source_digest(made->source_digest);
    record.set_created_unix_ms(NowUnixMs());
    record.set_root_bytes(made->bytes);
    record.set_root_files(made->files);
    for (const auto& [variable, value] : environment.variables)
      (*record.mutable_environment())[variable] = value;
    SPORE_TRY(PlaceVersion(staged, import, manifest, record));
    SPORE_ASSIGN(known[version], Load(import.name, version));
    return ImportedImage{known[version], false, std::move(made->notes)};
  };
  auto result = finish();
  if (!result) (void)DropUnusedRoots();
  if (known.empty()) versions_.erase(import.name);
  return result;
}

// Out of sight by one rename, then removed; the rest of a removal that fails waits in staging/.
Result<> ImageDisk::MoveAway(int parent, const std::string& name) {
  const std::string away = std::to_string(next_staged_++);
  if (renameat2(parent, name.c_str(), staging_.get(), away.c_str(), RENAME_NOREPLACE) != 0)
    return SysError("move away", name);
  SPORE_TRY(SyncDirectory(parent, name));
  (void)RemoveTree(staging_.get(), away);
  return {};
}

Result<> ImageDisk::Remove(const std::string& name, uint64_t version) {
  const auto found = versions_.find(name);
  if (found == versions_.end() || !found->second.contains(version))
    return MakeError(ErrorKind::kNotFound, fmt::format("no image {}@{}", name, version));
  SPORE_ASSIGN(const UniqueFd folder, OpenDirectory(names_.get(), name));
  SPORE_TRY(MoveAway(folder.get(), std::to_string(version)));
  found->second.erase(version);
  if (found->second.empty()) {
    versions_.erase(found);
    (void)unlinkat(names_.get(), name.c_str(), AT_REMOVEDIR);  // else it goes at the next start
  }
  return DropUnusedRoots();
}

Result<ListingDifferences> ImageDisk::Verify(const ImageManifest& image) const {
  const std::string hex = image.root.root_digest.substr(sizeof kDigestPrefix - 1);
  SPORE_ASSIGN(const UniqueFd folder, OpenDirectory(roots_.get(), hex));
  SPORE_ASSIGN(const std::string listing, ReadSmallFile(folder.get(), "listing", kMaxListing));
  SPORE_ASSIGN(const UniqueFd tree, OpenDirectory(folder.get(), "tree"));
  SPORE_ASSIGN(const TreeListing found, ListTree(tree.get(), stopping_));
  ListingDifferences differences = CompareListings(listing, found.text);
  const auto tell = [&](const std::string& what) {
    differences.first.insert(differences.first.begin(), what);
    ++differences.count;
  };
  if (Sha256Hex(listing) != hex) tell("the listing of the root is not the one it is named by");
  SPORE_ASSIGN(const std::string manifest, ReadSmallFile(AT_FDCWD, image.path, kMaxManifest));
  const std::string folder_of_image = image.path.substr(0, image.path.rfind('/'));
  SPORE_ASSIGN(const std::string bytes,
               ReadSmallFile(AT_FDCWD, folder_of_image + "/image.pb", kMaxManifest));
  v1::Image record;
  if (!record.ParseFromString(bytes)) tell("image.pb of " + image.name + " does not parse");
  const std::string digest =
      DigestOf(manifest, hex, {record.environment().begin(), record.environment().end()});
  if (digest != image.root.digest)
    tell("the manifest " + image.path + " or the environment beside it is another");
  return differences;
}

}  // namespace spore
