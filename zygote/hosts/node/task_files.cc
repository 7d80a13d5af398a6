#include "zygote/hosts/node/task_files.h"

#include <sys/stat.h>
#include <unistd.h>

#include <iterator>

namespace spore {
namespace {

bool IsFile(const std::string& path) {
  struct stat status {};
  return stat(path.c_str(), &status) == 0 && S_ISREG(status.st_mode);
}

bool HasPackage(std::string folder) {
  for (;;) {
    folder.erase(folder.rfind('/'));
    if (access((folder + "/package.json").c_str(), F_OK) == 0) return true;
    if (folder.empty()) return false;
  }
}

}  // namespace

uint32_t LookForModule(const std::string& base) {
  constexpr const char* kSuffixes[] = {".js", "", ".mjs", ".cjs"};
  if (base.empty() || base[0] != '/') return 0;
  for (uint32_t i = 0; i < std::size(kSuffixes); ++i) {
    const std::string file = base + kSuffixes[i];
    if (!IsFile(file)) continue;
    uint32_t found = kFound | i << kSuffixShift;
    if (IsFile(file + ".map")) found |= kHasSourceMap;
    struct stat status {};
    if (lstat(file.c_str(), &status) != 0 || S_ISLNK(status.st_mode)) found |= kIsLink;
    if (HasPackage(file)) found |= kHasPackage;
    return found;
  }
  return 0;
}

}  // namespace spore
