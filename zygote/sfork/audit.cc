#include "zygote/sfork/audit.h"

#include <dirent.h>
#include <fcntl.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <fstream>
#include <memory>

namespace spore {
namespace {

struct DirCloser {
  void operator()(DIR* dir) const { closedir(dir); }
};
using Dir = std::unique_ptr<DIR, DirCloser>;

}  // namespace

Result<std::vector<DescriptorNote>> ListDescriptors() {
  // Of a process whose first thread has ended, /proc/self shows neither descriptors nor memory.
  Dir dir(opendir("/proc/thread-self/fd"));
  if (!dir) return SysError("open", "/proc/thread-self/fd");
  std::vector<DescriptorNote> notes;
  while (const dirent* entry = readdir(dir.get())) {
    int fd = -1;
    const char* end = entry->d_name + strlen(entry->d_name);
    if (std::from_chars(entry->d_name, end, fd).ptr != end || fd == dirfd(dir.get())) continue;
    struct stat status {};
    if (fstat(fd, &status) < 0) return SysError("fstat descriptor", DescribeDescriptor(fd));
    notes.push_back({fd, status.st_dev, status.st_ino, status.st_mode});
  }
  std::sort(notes.begin(), notes.end(), [](const auto& a, const auto& b) { return a.fd < b.fd; });
  return notes;
}

Result<size_t> CountDescriptors() {
  struct stat status {};
  if (stat("/proc/self/fd", &status) < 0) return SysError("stat", "/proc/self/fd");
  if (status.st_size > 0) return static_cast<size_t>(status.st_size);
  SPORE_ASSIGN(const std::vector<DescriptorNote> notes, ListDescriptors());
  return notes.size();
}

std::string DescribeDescriptor(int fd) {
  char target[256];
  const ssize_t length =
      readlink(("/proc/thread-self/fd/" + std::to_string(fd)).c_str(), target, sizeof target);
  const std::string text = length > 0 ? std::string(target, static_cast<size_t>(length)) : "?";
  return std::to_string(fd) + " (" + text + ")";
}

Result<size_t> CountThreads() {
  // A directory's link count is 2 and one for each subdirectory: here, each thread.
  struct stat status {};
  if (stat("/proc/self/task", &status) < 0) return SysError("stat", "/proc/self/task");
  return static_cast<size_t>(status.st_nlink) - 2;
}

std::string DescribeThreads() {
  Dir dir(opendir("/proc/self/task"));
  std::string names;
  while (const dirent* entry = dir ? readdir(dir.get()) : nullptr) {
    if (entry->d_name[0] == '.') continue;
    std::string name;
    std::getline(std::ifstream(std::string("/proc/self/task/") + entry->d_name + "/comm"), name);
    names += (names.empty() ? "" : ", ") + name;
  }
  return names;
}

}  // namespace spore
