#include "sandbox/root_fs.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <filesystem>
#include <system_error>

#include "sandbox/sys/unique_fd.h"

namespace spore {
namespace {

namespace fs = std::filesystem;

// Any empty directory would do; /tmp exists on every host and the tmpfs is seen by us alone.
constexpr const char* kBuildPlace = "/tmp";

// What shared libraries and language runtimes look up in /etc: no secrets, no host identity.
constexpr const char* kCopiedEtc[] = {
    "alternatives",    "ld.so.cache", "localtime",  "timezone",   "mime.types",
    "ssl/openssl.cnf", "ssl/certs",   "protocols",  "services",   "debian_version",
    "python3",         "python3.11",  "python3.12", "python3.13", "java-17-openjdk",
    "java-21-openjdk", "matplotlibrc"};

Result<> MakeDirectory(const std::string& path, mode_t mode) {
  if (mkdir(path.c_str(), 0700) < 0) return SysError("mkdir", path);
  if (chmod(path.c_str(), mode) < 0) return SysError("chmod", path);  // whatever the umask is
  return {};
}

Result<> WriteFile(const std::string& path, std::string_view text) {
  UniqueFd fd(open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
  if (!fd) return SysError("create", path);
  if (write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()))
    return SysError("write", path);
  if (fchmod(fd.get(), 0644) < 0) return SysError("chmod", path);
  return {};
}

Result<> MakeLink(const char* target, const std::string& path) {
  if (symlink(target, path.c_str()) < 0) return SysError("symlink", path);
  return {};
}

Result<> BindReadOnly(const std::string& source, const std::string& target) {
  if (mount(source.c_str(), target.c_str(), nullptr, MS_BIND, nullptr) < 0)
    return SysError("bind " + source + " on", target);
  constexpr unsigned long kFlags = MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV;
  if (mount(nullptr, target.c_str(), nullptr, kFlags, nullptr) < 0)
    return SysError("make read-only", target);
  return {};
}

// /bin, /lib and the like: links into /usr on a merged host, else directories bound like /usr.
Result<> MakeUsrLinks(const std::string& root) {
  for (const char* name : {"bin", "sbin", "lib", "lib32", "lib64", "libx32"}) {
    const std::string host = std::string("/") + name;
    std::error_code error;
    const auto status = fs::symlink_status(host, error);
    if (fs::is_symlink(status)) {
      const fs::path target = fs::read_symlink(host, error);
      if (error) return SysErrorOf(error.value(), "readlink", host);
      SPORE_TRY(MakeLink(target.c_str(), root + host));
    } else if (fs::is_directory(status)) {
      SPORE_TRY(MakeDirectory(root + host, 0755));
      SPORE_TRY(BindReadOnly(host, root + host));
    }
  }
  return {};
}

Result<> MakeEtc(const std::string& etc) {
  SPORE_TRY(MakeDirectory(etc, 0755));
  SPORE_TRY(WriteFile(etc + "/passwd",
                      "root:x:0:0:root:/nonexistent:/usr/sbin/nologin\n"
                      "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"));
  SPORE_TRY(WriteFile(etc + "/group", "root:x:0:\nnogroup:x:65534:\n"));
  SPORE_TRY(WriteFile(etc + "/hosts", "127.0.0.1 localhost\n::1 localhost\n"));
  SPORE_TRY(WriteFile(etc + "/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n"));
  SPORE_TRY(MakeDirectory(etc + "/ssl", 0755));
  for (const char* name : kCopiedEtc) {
    const fs::path from = fs::path("/etc") / name;
    std::error_code error;
    if (!fs::exists(fs::symlink_status(from, error))) continue;
    fs::copy(from, fs::path(etc) / name,
             fs::copy_options::recursive | fs::copy_options::copy_symlinks, error);
    if (error) return SysErrorOf(error.value(), "copy into the image", from.native());
  }
  return {};
}

// What /dev holds.
Result<> FillDev(const std::string& dev) {
  struct Node {
    const char* name;
    unsigned minor;
  };
  for (const Node& node :
       {Node{"null", 3}, {"zero", 5}, {"full", 7}, {"random", 8}, {"urandom", 9}}) {
    const std::string path = dev + "/" + node.name;
    if (mknod(path.c_str(), S_IFCHR | 0666, makedev(1, node.minor)) < 0)
      return SysError("mknod", path, "spored needs CAP_MKNOD and a tmpfs that allows devices");
    if (chmod(path.c_str(), 0666) < 0) return SysError("chmod", path);
  }
  SPORE_TRY(MakeDirectory(dev + "/shm", 01777));
  SPORE_TRY(MakeLink("/proc/self/fd", dev + "/fd"));
  SPORE_TRY(MakeLink("/proc/self/fd/0", dev + "/stdin"));
  SPORE_TRY(MakeLink("/proc/self/fd/1", dev + "/stdout"));
  SPORE_TRY(MakeLink("/proc/self/fd/2", dev + "/stderr"));
  return {};
}

Result<> MakeDirectories(const std::string& root) {
  for (const char* path : {"/usr", "/proc", "/run", "/run/private", "/run/spore", "/run/spore/host",
                           kCheckpointPlace, kCriuPlace, "/var", "/var/task", "/home"}) {
    SPORE_TRY(MakeDirectory(root + path, 0755));
  }
  for (const char* path : {kChannelPlaceholder, kMessagesPlaceholder})
    SPORE_TRY(WriteFile(root + path, ""));
  SPORE_TRY(MakeDirectory(root + "/tmp", 01777));
  return MakeLink("/tmp", root + "/var/tmp");
}

// Makes the root of the mount namespace the caller's, which setns(2) does even for one's own
// namespace. Below a chroot(2) the kernel refuses pivot_root(2) and user namespaces, and "/" may be
// no mount.
Result<> EnterNamespaceRoot(const UniqueFd& mount_namespace) {
  if (setns(mount_namespace.get(), CLONE_NEWNS) < 0)
    return SysError("setns to the root of the mount namespace");
  return {};
}

// Every mount is private from here on, and "/" means again what it means to spored.
Result<> MakeMountsPrivate(const UniqueFd& mount_namespace) {
  UniqueFd root(open("/", O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!root) return SysError("open", "/");
  SPORE_TRY(EnterNamespaceRoot(mount_namespace));
  if (mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) < 0)
    return SysError("make mounts private");
  if (fchdir(root.get()) < 0 || chroot(".") < 0) return SysError("return to spored's root");
  return {};
}

// `flags` beside read-only and nosuid.
Result<> PivotInto(const char* path, const UniqueFd& mount_namespace, unsigned long flags) {
  UniqueFd root(open(path, O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!root) return SysError("open", path);
  SPORE_TRY(EnterNamespaceRoot(mount_namespace));
  if (fchdir(root.get()) < 0) return SysError("chdir", path);
  if (syscall(SYS_pivot_root, ".", ".") < 0) return SysError("pivot_root", path);
  if (umount2(".", MNT_DETACH) < 0) return SysError("detach the old root");
  if (chdir("/") < 0) return SysError("chdir", "/");
  constexpr unsigned long kFlags = MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID;
  if (mount(nullptr, "/", nullptr, kFlags | flags, nullptr) < 0)
    return SysError("make the image's root read-only");
  return {};
}

std::string DescriptorPath(const UniqueFd& fd) {
  return "/proc/self/fd/" + std::to_string(fd.get());
}

// The host's /usr, with what else a root needs, on a tmpfs at `root`.
Result<> BuildHostRoot(const std::string& root, const UniqueFd& host_dir) {
  if (mount("spore", root.c_str(), "tmpfs", MS_NOSUID, "size=8m,mode=0755") < 0)
    return SysError("mount tmpfs for the image's root on", root);
  SPORE_TRY(MakeDirectories(root));
  SPORE_TRY(MakeUsrLinks(root));
  SPORE_TRY(BindReadOnly("/usr", root + "/usr"));
  // The host directory may lie below the tmpfs that now covers /tmp: reach it by descriptor.
  SPORE_TRY(BindReadOnly(DescriptorPath(host_dir), root + "/run/spore/host"));
  SPORE_TRY(MakeEtc(root + "/etc"));
  SPORE_TRY(MakeDirectory(root + "/dev", 0755));
  return FillDev(root + "/dev");
}

// The path of a folder of the tree, no link on the way. Only root can change the tree meanwhile.
Result<std::string> PlaceInTree(const std::string& root, const char* name) {
  UniqueFd top(open(root.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!top) return SysError("open", root);
  open_how how{};
  how.flags = O_PATH | O_DIRECTORY | O_CLOEXEC;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS;
  UniqueFd fd(static_cast<int>(syscall(SYS_openat2, top.get(), name, &how, sizeof how)));
  if (!fd) return SysError("open in the image's tree", name, "`spore image verify` tells more");
  return root + "/" + name;
}

// A small tmpfs on a folder of the tree, to be filled and then sealed. Its path.
Result<std::string> CoverInTree(const std::string& root, const char* name) {
  SPORE_ASSIGN(const std::string path, PlaceInTree(root, name));
  if (mount("spore", path.c_str(), "tmpfs", MS_NOSUID | MS_NOEXEC, "size=64k,mode=0755") < 0)
    return SysError("mount tmpfs on", path);
  return path;
}

Result<> Seal(const std::string& path) {
  constexpr unsigned long kFlags = MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NOEXEC;
  if (mount(nullptr, path.c_str(), nullptr, kFlags, nullptr) < 0)
    return SysError("make read-only", path);
  return {};
}

// What is ours in a root: the tree has only the folder for it.
Result<> FillOurs(const std::string& root, const UniqueFd& host_dir) {
  for (const char* path : {"/run/spore/host", kCheckpointPlace, kCriuPlace})
    SPORE_TRY(MakeDirectory(root + path, 0755));
  for (const char* path : {kChannelPlaceholder, kMessagesPlaceholder})
    SPORE_TRY(WriteFile(root + path, ""));
  return BindReadOnly(DescriptorPath(host_dir), root + "/run/spore/host");
}

// The tree itself at `root`.
Result<> BuildTreeRoot(const std::string& root, const UniqueFd& tree, const UniqueFd& host_dir) {
  if (mount(DescriptorPath(tree).c_str(), root.c_str(), nullptr, MS_BIND, nullptr) < 0)
    return SysError("bind the image's tree on", root);
  SPORE_TRY(PlaceInTree(root, "proc"));  // where MountImageProc mounts
  SPORE_ASSIGN(const std::string ours, CoverInTree(root, "run/spore"));
  SPORE_TRY(FillOurs(root, host_dir));
  SPORE_TRY(Seal(ours));
  SPORE_ASSIGN(const std::string dev, CoverInTree(root, "dev"));
  SPORE_TRY(FillDev(dev));
  return Seal(dev);
}

}  // namespace

Result<> EnterImageRoot(const RootFsOptions& options) {
  const std::string root = kBuildPlace;
  UniqueFd host_dir(open(options.host_dir.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!host_dir) return SysError("open the language hosts' directory", options.host_dir);
  UniqueFd mount_namespace(open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC));
  if (!mount_namespace) return SysError("open", "/proc/self/ns/mnt", "is /proc mounted?");
  UniqueFd tree;
  if (!options.tree.empty()) {
    tree.Reset(open(options.tree.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!tree) return SysError("open the image's tree", options.tree);
  }
  SPORE_TRY(MakeMountsPrivate(mount_namespace));
  if (tree) {
    SPORE_TRY(BuildTreeRoot(root, tree, host_dir));
    return PivotInto(root.c_str(), mount_namespace, MS_NODEV);
  }
  SPORE_TRY(BuildHostRoot(root, host_dir));
  return PivotInto(root.c_str(), mount_namespace, MS_NOEXEC);
}

Result<> MountImageProc() {
  constexpr unsigned long kFlags = MS_NOSUID | MS_NODEV | MS_NOEXEC;
  if (mount("proc", "/proc", "proc", kFlags, nullptr) < 0)
    return SysError("mount proc on", "/proc");
  return {};
}

}  // namespace spore
