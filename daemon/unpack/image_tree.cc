#include "daemon/unpack/image_tree.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <vector>

namespace spore::unpack {
namespace {

// Each level of a removal holds a descriptor (RLIMIT_NOFILE in confine.cc).
constexpr uint32_t kMaxRemoveDepth = 150;

UniqueFd Open(int folder, const std::string& name, int flags, mode_t mode, uint64_t resolve) {
  open_how how = {};
  how.flags = static_cast<__u64>(flags | O_CLOEXEC);
  how.mode = mode;
  how.resolve = resolve | RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS;
  const char* path = name.empty() ? "." : name.c_str();
  return UniqueFd(static_cast<int>(syscall(SYS_openat2, folder, path, &how, sizeof how)));
}

tl::unexpected<Error> Refuse(const std::string& name, std::string_view why) {
  return MakeError(ErrorKind::kInvalid, fmt::format("image entry {}: {}", Quote(name), why));
}

std::string Joined(const std::string& folder, const std::string& leaf) {
  return folder.empty() ? leaf : folder + "/" + leaf;
}

bool IsFolder(int parent, const std::string& leaf) {
  return Open(parent, leaf, O_PATH | O_DIRECTORY | O_NOFOLLOW, 0, RESOLVE_BENEATH).valid();
}

}  // namespace

bool StatFile(int fd, struct stat* info) {
  return syscall(SYS_fstat, fd, info) == 0;
}

Result<> ImageTree::CountOne(const std::string& name) {
  if (++entries_ <= max_entries_) return {};
  return Refuse(name, fmt::format("the image holds more than {} files and folders", max_entries_));
}

// With the folders above, which are this layer's as well by what it puts into them.
void ImageTree::Mark(std::string name) {
  while (!name.empty() && made_.insert(name).second) {
    const size_t slash = name.rfind('/');
    name.resize(slash == name.npos ? 0 : slash);
  }
}

Result<ImageTree::Place> ImageTree::Locate(const std::string& name) {
  const size_t slash = name.rfind('/');
  Place place;
  place.leaf = slash == name.npos ? name : name.substr(slash + 1);
  const std::string folder = slash == name.npos ? "" : name.substr(0, slash);
  place.parent = Open(root_, folder, O_PATH | O_DIRECTORY, 0, RESOLVE_IN_ROOT);
  if (place.parent) return place;
  for (size_t end = 0; end <= folder.size(); ++end) {
    end = std::min(folder.find('/', end), folder.size());
    const std::string upper = folder.substr(0, end);
    UniqueFd next = Open(root_, upper, O_PATH | O_DIRECTORY, 0, RESOLVE_IN_ROOT);
    if (!next && errno == ENOENT) {
      const size_t last = upper.rfind('/');
      const std::string leaf = last == upper.npos ? upper : upper.substr(last + 1);
      UniqueFd above = last == upper.npos ? Open(root_, "", O_PATH | O_DIRECTORY, 0, 0)
                                          : Open(root_, upper.substr(0, last), O_PATH | O_DIRECTORY,
                                                 0, RESOLVE_IN_ROOT);
      SPORE_TRY(CountOne(name));
      // EEXIST: a link to nothing.
      if (!above || mkdirat(above.get(), leaf.c_str(), 0755) != 0) {
        return Refuse(name, fmt::format("{} is no folder", Quote(upper)));
      }
      Mark(upper);
    } else if (!next) {
      return Refuse(name, fmt::format("{} is no folder", Quote(upper)));
    }
  }
  place.parent = Open(root_, folder, O_PATH | O_DIRECTORY, 0, RESOLVE_IN_ROOT);
  if (!place.parent) return SysError("open folder", Quote(folder));
  return place;
}

Result<> ImageTree::AddDirectory(const std::string& name, mode_t mode) {
  if (name.empty()) return {};
  SPORE_ASSIGN(Place place, Locate(name));
  SPORE_TRY(CountOne(name));
  if (!IsFolder(place.parent.get(), place.leaf)) {
    SPORE_TRY(Remove(place.parent.get(), place.leaf, 0));
    if (mkdirat(place.parent.get(), place.leaf.c_str(), 0700) != 0)
      return SysError("make folder", Quote(name));
  }
  UniqueFd folder =
      Open(place.parent.get(), place.leaf, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0, RESOLVE_BENEATH);
  if (!folder || fchmod(folder.get(), mode) != 0) return SysError("make folder", Quote(name));
  Mark(name);
  return {};
}

Result<UniqueFd> ImageTree::AddFile(const std::string& name, mode_t mode) {
  if (name.empty()) return Refuse(name, "the root of the archive is not a folder");
  SPORE_ASSIGN(Place place, Locate(name));
  SPORE_TRY(CountOne(name));
  SPORE_TRY(Remove(place.parent.get(), place.leaf, 0));
  UniqueFd file = Open(place.parent.get(), place.leaf, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW,
                       mode, RESOLVE_BENEATH);
  if (!file) return SysError("create", Quote(name));
  Mark(name);
  return file;
}

Result<> ImageTree::AddSymlink(const std::string& name, const std::string& target) {
  if (name.empty()) return Refuse(name, "the root of the archive is not a folder");
  if (target.empty() || target.size() >= PATH_MAX) return Refuse(name, "it links to no valid name");
  SPORE_ASSIGN(Place place, Locate(name));
  SPORE_TRY(CountOne(name));
  SPORE_TRY(Remove(place.parent.get(), place.leaf, 0));
  if (symlinkat(target.c_str(), place.parent.get(), place.leaf.c_str()) != 0)
    return SysError("make link", Quote(name));
  Mark(name);
  return {};
}

Result<UniqueFd> ImageTree::OpenFile(const std::string& name, const std::string& link) {
  UniqueFd file = Open(root_, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0, RESOLVE_IN_ROOT);
  struct stat info = {};
  if (file && StatFile(file.get(), &info) && S_ISREG(info.st_mode)) return file;
  return Refuse(link,
                fmt::format("it is a hard link to {}, which is no file of the image", Quote(name)));
}

Result<> ImageTree::ForEach(int folder,
                            const std::function<Result<>(const std::string&)>& each) const {
  // Names first: entries may be removed meanwhile.
  struct Entry {  // struct linux_dirent64, getdents(2)
    uint64_t inode;
    int64_t offset;
    uint16_t length;
    uint8_t type;
    char name[1];
  };
  std::vector<std::string> names;
  alignas(Entry) std::array<char, 32 * 1024> buffer;
  for (;;) {
    const long got = syscall(SYS_getdents64, folder, buffer.data(), buffer.size());
    if (got < 0) return SysError("read folder");
    if (got == 0) break;
    for (long at = 0; at < got;) {
      const auto* entry = reinterpret_cast<const Entry*>(buffer.data() + at);
      const std::string name = entry->name;
      if (name != "." && name != "..") names.push_back(name);
      at += entry->length;
    }
  }
  for (const std::string& name : names) SPORE_TRY(each(name));
  return {};
}

Result<> ImageTree::Remove(int parent, const std::string& leaf, uint32_t depth) {
  if (unlinkat(parent, leaf.c_str(), 0) == 0 || errno == ENOENT) return {};
  // Landlock answers EACCES before the file system can say that it is a folder.
  if (errno != EISDIR && errno != EPERM && errno != EACCES) return SysError("remove", Quote(leaf));
  if (depth > kMaxRemoveDepth) return Refuse(leaf, "it is a folder too deep to be replaced");
  UniqueFd folder = Open(parent, leaf, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0, RESOLVE_BENEATH);
  if (!folder) return SysError("remove", Quote(leaf));
  SPORE_TRY(ForEach(folder.get(), [&](const std::string& name) {
    return Remove(folder.get(), name, depth + 1);
  }));
  if (unlinkat(parent, leaf.c_str(), AT_REMOVEDIR) != 0)
    return SysError("remove folder", Quote(leaf));
  return {};
}

Result<> ImageTree::HideEntry(const std::string& name) {
  const size_t slash = name.rfind('/');
  const std::string folder = slash == name.npos ? "" : name.substr(0, slash);
  UniqueFd parent = Open(root_, folder, O_PATH | O_DIRECTORY, 0, RESOLVE_IN_ROOT);
  if (!parent) return {};  // nothing to hide
  const std::string leaf = slash == name.npos ? name : name.substr(slash + 1);
  if (!made_.contains(name)) return Remove(parent.get(), leaf, 0);
  return IsFolder(parent.get(), leaf) ? HideContents(name) : Result<>{};
}

Result<> ImageTree::HideContents(const std::string& name) {
  UniqueFd folder = Open(root_, name, O_RDONLY | O_DIRECTORY, 0, RESOLVE_IN_ROOT);
  if (!folder) return {};
  return ForEach(folder.get(),
                 [&](const std::string& leaf) { return HideEntry(Joined(name, leaf)); });
}

Result<> ImageTree::RequireDirectory(const std::string& name) {
  SPORE_ASSIGN(Place place, Locate(name));
  if (IsFolder(place.parent.get(), place.leaf)) return {};
  if (mkdirat(place.parent.get(), place.leaf.c_str(), 0755) == 0) return {};
  if (errno != EEXIST) return SysError("make folder", Quote(name));
  return Refuse(name, "it is no folder, and Spore needs one there to mount on");
}

bool ImageTree::Has(const std::string& name) const {
  return Open(root_, name, O_PATH | O_NOFOLLOW, 0, RESOLVE_IN_ROOT).valid();
}

}  // namespace spore::unpack
