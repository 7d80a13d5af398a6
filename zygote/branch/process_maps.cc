#include "zygote/branch/process_maps.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cinttypes>
#include <cstdio>
#include <fstream>

namespace spore {

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
  std::ifstream file(path);
  std::vector<Mapping> maps;
  for (std::string line; std::getline(file, line);) {
    Mapping mapping;
    char flags[5] = {}, device[32] = {};
    int name_at = 0;
    if (sscanf(line.c_str(), "%" SCNxPTR "-%" SCNxPTR " %4s %" SCNx64 " %31s %" SCNu64 " %n",
               &mapping.begin, &mapping.end, flags, &mapping.offset, device, &mapping.inode,
               &name_at) < 6) {
      return MakeError(ErrorKind::kInternal, path + " has a line of unknown form");
    }
    mapping.protection = (flags[0] == 'r' ? PROT_READ : 0) | (flags[1] == 'w' ? PROT_WRITE : 0) |
                         (flags[2] == 'x' ? PROT_EXEC : 0);
    mapping.shared = flags[3] == 's';
    mapping.device = device;
    mapping.name = line.substr(static_cast<size_t>(name_at));
    maps.push_back(std::move(mapping));
  }
  if (maps.empty()) return MakeError(ErrorKind::kNotFound, "it has ended");
  return maps;
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
