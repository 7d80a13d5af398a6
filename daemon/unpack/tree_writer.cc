#include "daemon/unpack/tree_writer.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

namespace spore::unpack {
namespace {

UniqueFd OpenBeneath(int root, const std::string& name, int flags, mode_t mode, bool links) {
  open_how how = {};
  how.flags = static_cast<__u64>(flags | O_CLOEXEC);
  how.mode = mode;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS;
  if (!links) how.resolve |= RESOLVE_NO_SYMLINKS;
  return UniqueFd(static_cast<int>(syscall(SYS_openat2, root, name.c_str(), &how, sizeof how)));
}

tl::unexpected<Error> Refuse(const std::string& name, std::string_view why) {
  return MakeError(ErrorKind::kInvalid, fmt::format("archive entry {}: {}", Quote(name), why));
}

std::string Leaf(const std::string& name) {
  size_t slash = name.rfind('/');
  return slash == name.npos ? name : name.substr(slash + 1);
}

}  // namespace

Result<> TreeWriter::CountOne(const std::string& name) const {
  if (made_.size() < max_files_) return {};
  return Refuse(name, fmt::format("the archive holds more than {} files and folders", max_files_));
}

Result<int> TreeWriter::Parent(const std::string& name) {
  size_t slash = name.rfind('/');
  if (slash == name.npos) return root_;
  std::string folder = name.substr(0, slash);
  if (!parent_ || folder != parent_name_) {
    parent_ = OpenBeneath(root_, folder, O_PATH | O_DIRECTORY, 0, false);
    if (!parent_) return SysError("open", Quote(folder));
    parent_name_ = std::move(folder);
  }
  return parent_.get();
}

Result<> TreeWriter::MakeDirectory(const std::string& name) {
  SPORE_TRY(CountOne(name));
  SPORE_ASSIGN(int parent, Parent(name));
  if (mkdirat(parent, Leaf(name).c_str(), 0755) != 0) return SysError("make folder", Quote(name));
  made_.emplace(name, Kind::kDirectory);
  return {};
}

Result<> TreeWriter::Prepare(const std::string& name) {
  for (size_t slash = name.find('/'); slash != name.npos; slash = name.find('/', slash + 1)) {
    std::string folder = name.substr(0, slash);
    auto found = made_.find(folder);
    if (found == made_.end()) {
      SPORE_TRY(MakeDirectory(folder));
    } else if (found->second != Kind::kDirectory) {
      return Refuse(name, fmt::format("{} is a {} in the same archive, not a folder", Quote(folder),
                                      found->second == Kind::kSymlink ? "link" : "file"));
    }
  }
  if (auto found = made_.find(name); found != made_.end()) {
    if (found->second == Kind::kDirectory) {
      return Refuse(name, "the archive also holds a folder of this name");
    }
    return Refuse(name, "the archive holds this name twice");
  }
  return {};
}

Result<> TreeWriter::Claim(const std::string& name, Kind kind) {
  SPORE_TRY(Prepare(name));
  SPORE_TRY(CountOne(name));
  made_.emplace(name, kind);
  return {};
}

Result<> TreeWriter::AddDirectory(const std::string& name) {
  auto found = made_.find(name);
  if (name.empty() || (found != made_.end() && found->second == Kind::kDirectory)) return {};
  if (found != made_.end()) return Refuse(name, "the archive also holds a file of this name");
  SPORE_TRY(Prepare(name));
  return MakeDirectory(name);
}

Result<UniqueFd> TreeWriter::AddFile(const std::string& name, bool executable) {
  if (name.empty()) return Refuse(name, "the root of the archive is not a folder");
  SPORE_TRY(Claim(name, executable ? Kind::kExecutable : Kind::kFile));
  UniqueFd file = OpenBeneath(root_, name, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW,
                              executable ? 0755 : 0644, false);
  if (!file) return SysError("create", Quote(name));
  return file;
}

Result<> TreeWriter::AddSymlink(const std::string& name, const std::string& target) {
  if (name.empty()) return Refuse(name, "the root of the archive is not a folder");
  SPORE_TRY(Claim(name, Kind::kSymlink));
  SPORE_ASSIGN(int parent, Parent(name));
  if (symlinkat(target.c_str(), parent, Leaf(name).c_str()) != 0) {
    return SysError("make link", Quote(name));
  }
  return {};
}

Result<UniqueFd> TreeWriter::OpenFile(const std::string& name, const std::string& link,
                                      bool* executable) {
  auto found = made_.find(name);
  bool is_file =
      found != made_.end() && (found->second == Kind::kFile || found->second == Kind::kExecutable);
  if (!is_file) {
    return Refuse(link, fmt::format("it is a hard link to {}, which is no earlier file of the "
                                    "archive",
                                    Quote(name)));
  }
  *executable = found->second == Kind::kExecutable;
  UniqueFd file = OpenBeneath(root_, name, O_RDONLY | O_NOFOLLOW, 0, false);
  if (!file) return SysError("open", Quote(name));
  return file;
}

Result<> TreeWriter::CheckSymlinks() const {
  for (const auto& [name, kind] : made_) {
    if (kind != Kind::kSymlink) continue;
    UniqueFd target = OpenBeneath(root_, name, O_PATH, 0, true);
    // A link to nothing and a circle of links lead nowhere, so not out either.
    if (target || errno == ENOENT || errno == ELOOP || errno == ENOTDIR) continue;
    if (errno == EXDEV) return Refuse(name, "it links to what is outside the archive");
    if (errno == ENAMETOOLONG) return Refuse(name, "it links to a name that is too long");
    return SysError("follow link", Quote(name));
  }
  return {};
}

}  // namespace spore::unpack
