#include "zygote/branch/process_maps.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string_view>

#include "zygote/sfork/memory_map.h"

namespace spore {
namespace {

constexpr size_t kReadBytes = 16 << 10;

}  // namespace

// A read(2) each of as much as the kernel gives.
Result<std::string> ReadKernelFile(const std::string& path) {
  const UniqueFd file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) return SysError("open", path);
  std::string text;
  for (size_t size = 0;;) {
    text.resize(size + kReadBytes);
    const ssize_t got = TEMP_FAILURE_RETRY(read(file.get(), text.data() + size, kReadBytes));
    if (got < 0) return SysError("read", path);
    size += static_cast<size_t>(got);
    if (got > 0) continue;
    text.resize(size);
    return text;
  }
}

bool Mapping::IsKernels() const {
  return name.starts_with("[vdso") || name.starts_with("[vvar") || name == "[vsyscall]" ||
         name == "[uprobes]";
}

bool Mapping::SameBehind(const Mapping& other) const {
  if (shared != other.shared || inode != other.inode) return false;
  // Each process has its own of shared memory without a name.
  if (inode == 0) return true;
  return device == other.device && offset - begin == other.offset - other.begin;
}

Result<std::vector<Mapping>> ReadMappings(pid_t pid) {
  const std::string path = fmt::format("/proc/{}/maps", pid);
  const auto text = ReadKernelFile(path);
  if (!text) return MakeError(ErrorKind::kNotFound, "it has ended");
  std::vector<Mapping> maps;
  for (std::string_view rest = *text; !rest.empty();) {
    const size_t end = std::min(rest.find('\n'), rest.size());
    MapLine line;
    if (!line.Parse(rest.substr(0, end)))
      return MakeError(ErrorKind::kInternal, path + " has a line of unknown form");
    maps.push_back({line.begin, line.end, line.protection, line.shared, line.offset, line.device,
                    line.inode, std::string(line.name)});
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  if (maps.empty()) return MakeError(ErrorKind::kNotFound, "it has ended");
  return maps;
}

bool HasMemory(int pidfd, pid_t pid) {
  const bool has = ReadMappings(pid).has_value();
  // Asked afterwards: until then the number is nobody else's.
  pollfd ended{pidfd, POLLIN, 0};
  return has && poll(&ended, 1, 0) == 0;
}

std::string Describe(const Mapping& mapping) {
  return fmt::format("{} at {:x}", mapping.name.empty() ? "anonymous memory" : mapping.name,
                     mapping.begin);
}

Result<PageMap> PageMap::Open(pid_t pid) {
  const std::string path = fmt::format("/proc/{}/pagemap", pid);
  UniqueFd file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) return SysError("open", path);
  return PageMap(std::move(file));
}

Result<> PageMap::Read(uintptr_t begin, uintptr_t end, std::vector<uint64_t>& pages) const {
  pages.resize((end - begin) / kPageBytes);
  auto* at = reinterpret_cast<char*>(pages.data());
  size_t left = pages.size() * sizeof(uint64_t);
  auto offset = static_cast<off_t>(begin / kPageBytes * sizeof(uint64_t));
  while (left > 0) {
    const ssize_t got = pread(file_.get(), at, left, offset);
    if (got <= 0) return SysError("read the page map of a process");
    at += got;
    offset += got;
    left -= static_cast<size_t>(got);
  }
  return {};
}

uint64_t PageMap::Zeros() {
  void* const page = mmap(nullptr, kPageBytes, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) return 0;
  (void)*static_cast<const volatile char*>(page);
  const auto at = reinterpret_cast<uintptr_t>(page);
  std::vector<uint64_t> own;
  const auto map = Open(getpid());
  const bool is_known = map && map->Read(at, at + kPageBytes, own) && (own[0] & kPresent) != 0;
  munmap(page, kPageBytes);
  return is_known ? own[0] : 0;
}

}  // namespace spore
