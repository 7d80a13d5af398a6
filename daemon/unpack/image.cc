#include "daemon/unpack/image.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "daemon/unpack/oci_layout.h"

namespace spore::unpack {
namespace {

// Where the supervisor and each sandbox mount (sandbox/root_fs.cc, sandbox/steps/mounts.cc).
constexpr const char* kMountPoints[] = {"dev",         "etc",       "proc",           "run",
                                        "run/private", "run/spore", "run/spore/host", "sys",
                                        "tmp",         "var",       "var/task"};

struct SmallFile {
  const char* name;
  std::string_view text;
};
// As for images of the host's root (sandbox/root_fs.cc).
constexpr SmallFile kEtc[] = {{"etc/passwd",
                               "root:x:0:0:root:/nonexistent:/usr/sbin/nologin\n"
                               "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"},
                              {"etc/group", "root:x:0:\nnogroup:x:65534:\n"},
                              {"etc/hosts", "127.0.0.1 localhost\n::1 localhost\n"},
                              {"etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n"}};

Result<UniqueFd> MakeFolder(int parent, const char* name) {
  if (mkdirat(parent, name, 0755) != 0) return SysError("make folder", name);
  open_how how = {};
  how.flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS;
  UniqueFd fd(static_cast<int>(syscall(SYS_openat2, parent, name, &how, sizeof how)));
  if (!fd) return SysError("open folder", name);
  return fd;
}

Result<> Furnish(ImageTree& tree) {
  for (const char* folder : kMountPoints) SPORE_TRY(tree.RequireDirectory(folder));
  for (const SmallFile& file : kEtc) {
    if (tree.Has(file.name)) continue;
    SPORE_ASSIGN(const UniqueFd fd, tree.AddFile(file.name, 0644));
    if (write(fd.get(), file.text.data(), file.text.size()) !=
        static_cast<ssize_t>(file.text.size()))
      return SysError("write", file.name);
  }
  return {};
}

// Beside the root: spored reads it.
Result<> WriteEnvironment(int directory, std::string_view environment) {
  if (environment.empty()) return {};
  open_how how = {};  // openat(2) is not let through here
  how.flags = O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC;
  how.mode = 0600;
  how.resolve = RESOLVE_BENEATH;
  const UniqueFd file(
      static_cast<int>(syscall(SYS_openat2, directory, "environment", &how, sizeof how)));
  if (!file) return SysError("create", "environment");
  if (write(file.get(), environment.data(), environment.size()) !=
      static_cast<ssize_t>(environment.size()))
    return SysError("write", "environment");
  return {};
}

ImageMade Facts(const ImageArchive& archive, const ImageTree& tree, std::string digest) {
  return {std::move(digest), archive.bytes(), tree.entries(), archive.left_out().Notes()};
}

Result<ImageMade> UnpackLayout(int layout, int directory, const ImageLimits& limits) {
  SPORE_ASSIGN(const UniqueFd root, MakeFolder(directory, "root"));
  ImageTree tree(root.get(), limits.entries);
  ImageArchive archive(tree, limits);
  SPORE_ASSIGN(OciImage image, UnpackOciLayout(layout, archive, limits.bytes));
  SPORE_TRY(Furnish(tree));
  SPORE_TRY(WriteEnvironment(directory, image.environment));
  ImageMade made = Facts(archive, tree, std::move(image.digest));
  made.notes.insert(made.notes.end(), image.notes.begin(), image.notes.end());
  return made;
}

}  // namespace

Result<ImageMade> UnpackImage(int source, int directory, const ImageLimits& limits) {
  FileSource file(source, limits.bytes);
  // A layout and a root look alike until the last entry has been read.
  SPORE_ASSIGN(const UniqueFd first, MakeFolder(directory, "archive"));
  ImageTree tree(first.get(), limits.entries);
  ImageArchive archive(tree, limits);
  SPORE_TRY(archive.Add(file, true, false));
  if (tree.entries() == 0) return MakeError(ErrorKind::kInvalid, "the archive holds no file");
  if (IsOciLayout(first.get())) return UnpackLayout(first.get(), directory, limits);
  if (tree.Has("manifest.json") && !tree.Has("usr") && !tree.Has("bin")) {
    return MakeError(ErrorKind::kInvalid,
                     "this is an archive of Docker's own form, without an OCI layout",
                     "`skopeo copy docker-archive:FILE oci-archive:OTHER` makes one");
  }
  SPORE_TRY(Furnish(tree));
  if (renameat2(directory, "archive", directory, "root", RENAME_NOREPLACE) != 0)
    return SysError("rename the root");
  return Facts(archive, tree, file.Digest());
}

}  // namespace spore::unpack
