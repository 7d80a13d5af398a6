#include "zygote/checkpoint/check_restored.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <memory>

#include "sandbox/sys/unique_fd.h"
#include "zygote/branch/process_maps.h"
#include "zygote/branch/thread_state.h"
#include "zygote/checkpoint/process_facts.h"

namespace spore {
namespace {

tl::unexpected<Error> Refuse(std::string_view what, const std::string& value) {
  return MakeError(ErrorKind::kPrecondition,
                   fmt::format("a restored process is not confined: {} is {}", what, value),
                   "the checkpoint is damaged, or was tampered with");
}

// What is behind a link of /proc: descriptors, places and mappings of a process.
struct Behind {
  dev_t device = 0;
  uint64_t inode = 0, mount = 0;
  mode_t mode = 0;
};

Result<Behind> LookBehind(const std::string& link) {
  struct statx status {};
  constexpr unsigned kMask = STATX_BASIC_STATS | STATX_MNT_ID;
  constexpr int kFlags = AT_NO_AUTOMOUNT | AT_STATX_DONT_SYNC;
  if (statx(AT_FDCWD, link.c_str(), kFlags, kMask, &status) < 0) return SysError("statx", link);
  return Behind{makedev(status.stx_dev_major, status.stx_dev_minor), status.stx_ino,
                status.stx_mnt_id, status.stx_mode};
}

// CRIU's own files may lie in the file system that the image lies in: it is the mount that tells.
bool IsForbidden(const Behind& behind, const Confinement& confinement) {
  const std::vector<ForbiddenMount>& all = confinement.forbidden;
  return std::any_of(all.begin(), all.end(), [&](const ForbiddenMount& one) {
    return behind.mount == one.number || (one.device != 0 && behind.device == one.device);
  });
}

Result<> CheckThread(pid_t tid, pid_t init, int filters) {
  for (const char* name : {"Uid", "Gid"}) {
    const std::string value = StatusLine(tid, name);
    if (value.empty() || value != StatusLine(init, name)) return Refuse(name, value);
  }
  if (const std::string groups = StatusLine(tid, "Groups");
      groups.find_first_not_of(" \t") != groups.npos) {
    return Refuse("Groups", groups);
  }
  for (const char* name : {"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"}) {
    const std::string value = StatusLine(tid, name);
    if (value.empty() || value.find_first_not_of('0') != value.npos) return Refuse(name, value);
  }
  const std::string count = std::to_string(filters);
  for (const auto& [name, expected] :
       {std::pair("NoNewPrivs", std::string("1")), {"Seccomp", "2"}, {"Seccomp_filters", count}}) {
    if (const std::string value = StatusLine(tid, name); value != expected)
      return Refuse(name, value);
  }
  return {};
}

Result<> CheckNamespaces(pid_t tid, const Confinement& confinement) {
  for (const std::string_view name : {"pid", "pid_for_children", "user", "mnt", "net", "ipc", "uts",
                                      "cgroup", "time", "time_for_children"}) {
    if (confinement.clocks.any() && name.starts_with("time")) continue;
    struct stat own {
    }, expected{};
    if (stat(fmt::format("/proc/{}/ns/{}", confinement.init, name).c_str(), &expected) < 0) {
      if (errno == ENOENT) continue;  // the kernel has none such
      return SysError("stat a namespace", name);
    }
    if (stat(fmt::format("/proc/{}/ns/{}", tid, name).c_str(), &own) < 0)
      return SysError("stat a namespace", name);
    if (own.st_ino != expected.st_ino) return Refuse("its namespace", std::string(name));
  }
  if (confinement.clocks.any() && ReadOffsets(tid) != TextOf(confinement.clocks))
    return Refuse("its clock", "another");
  return {};
}

Result<> CheckPlaces(pid_t tid, const Confinement& confinement) {
  SPORE_ASSIGN(const Behind root, LookBehind(fmt::format("/proc/{}/root", tid)));
  SPORE_ASSIGN(const Behind expected, LookBehind(fmt::format("/proc/{}/root", confinement.init)));
  if (root.mount != expected.mount || root.device != expected.device ||
      root.inode != expected.inode) {
    return Refuse("its root", "another");
  }
  for (const char* name : {"cwd", "exe"}) {
    SPORE_ASSIGN(const Behind place, LookBehind(fmt::format("/proc/{}/{}", tid, name)));
    if (IsForbidden(place, confinement)) return Refuse(name, "in CRIU's workplace");
  }
  return {};
}

// A descriptor that is on its way in a message could be any.
Result<> CheckMessages(pid_t tid, const char* name) {
  if (!HasDescriptorsInFlight(fmt::format("/proc/{}/fdinfo/{}", tid, name))) return {};
  return Refuse("a socket", "one with descriptors that nobody has received");
}

int OptionOf(int socket, int name) {
  int value = -1;
  socklen_t size = sizeof value;
  return getsockopt(socket, SOL_SOCKET, name, &value, &size) == 0 ? value : -1;
}

// The kinds that the filters of a session let it make, and nothing above TCP in the kernel.
Result<> CheckSocket(int pidfd, const char* name, bool loopback) {
  const UniqueFd copy(static_cast<int>(
      syscall(SYS_pidfd_getfd, pidfd, static_cast<int>(strtol(name, nullptr, 10)), 0)));
  if (!copy) return SysError("pidfd_getfd of a socket");
  const int domain = OptionOf(copy.get(), SO_DOMAIN);
  if (domain == AF_UNIX) return {};
  const int type = OptionOf(copy.get(), SO_TYPE), protocol = OptionOf(copy.get(), SO_PROTOCOL);
  const bool of_internet = domain == AF_INET || domain == AF_INET6;
  const bool known = (type == SOCK_STREAM && protocol == IPPROTO_TCP) ||
                     (type == SOCK_DGRAM && protocol == IPPROTO_UDP);
  char above[32] = {};
  socklen_t size = sizeof above;
  const bool plain = type != SOCK_STREAM ||
                     getsockopt(copy.get(), IPPROTO_TCP, TCP_ULP, above, &size) < 0 || size == 0 ||
                     above[0] == '\0';
  if (loopback && of_internet && known && plain) return {};
  return Refuse("a socket",
                fmt::format("of family {}, type {}, protocol {}", domain, type, protocol));
}

Result<> CheckDescriptors(pid_t tid, int pidfd, const Confinement& confinement) {
  const std::string path = fmt::format("/proc/{}/fd", tid);
  const std::unique_ptr<DIR, int (*)(DIR*)> list(opendir(path.c_str()), closedir);
  if (!list) return SysError("list", path);
  while (const dirent* entry = readdir(list.get())) {
    if (entry->d_name[0] == '.') continue;
    SPORE_ASSIGN(const Behind behind, LookBehind(path + "/" + entry->d_name));
    if (IsForbidden(behind, confinement))
      return Refuse(fmt::format("descriptor {}", entry->d_name), "in CRIU's workplace");
    if (!S_ISSOCK(behind.mode)) continue;
    SPORE_TRY(CheckMessages(tid, entry->d_name));
    SPORE_TRY(CheckSocket(pidfd, entry->d_name, confinement.loopback));
  }
  return {};
}

// pidfd_getfd(2) looks into the table of a process's first thread: all others have to have the
// same.
Result<> CheckTables(const RestoredProcess& process) {
  for (const Tracee& thread : process.threads) {
    SPORE_ASSIGN(const bool own, HasOwnTable(process.pid, thread.tid()));
    if (own) return Refuse("a thread's table of descriptors", "its own");
  }
  return {};
}

Result<> CheckMappings(pid_t pid, const Confinement& confinement) {
  SPORE_ASSIGN(const std::vector<Mapping> mappings, ReadMappings(pid));
  for (const Mapping& mapping : mappings) {
    if (mapping.IsAnonymous()) continue;
    SPORE_ASSIGN(const Behind behind, LookBehind(fmt::format("/proc/{}/map_files/{:x}-{:x}", pid,
                                                             mapping.begin, mapping.end)));
    if (IsForbidden(behind, confinement)) return Refuse("a mapping", "in CRIU's workplace");
  }
  return {};
}

}  // namespace

Result<> CheckRestored(const std::vector<RestoredProcess>& processes,
                       const Confinement& confinement, int filters) {
  for (const RestoredProcess& process : processes) {
    for (const Tracee& thread : process.threads) {
      SPORE_TRY(CheckThread(thread.tid(), confinement.init, filters));
      SPORE_TRY(CheckNamespaces(thread.tid(), confinement));
      SPORE_TRY(CheckPlaces(thread.tid(), confinement));
    }
    SPORE_TRY(CheckTables(process));
    const UniqueFd pidfd(static_cast<int>(syscall(SYS_pidfd_open, process.pid, 0)));
    if (!pidfd) return SysError("pidfd_open");
    SPORE_TRY(CheckDescriptors(process.pid, pidfd.get(), confinement));
    SPORE_TRY(CheckMappings(process.pid, confinement));
  }
  return {};
}

Result<> CheckFilters(const std::vector<RestoredProcess>& processes, int filters) {
  const std::string expected = std::to_string(filters);
  for (const RestoredProcess& process : processes) {
    for (const Tracee& thread : process.threads) {
      const std::string count = StatusLine(thread.tid(), "Seccomp_filters");
      if (count != expected) return Refuse("Seccomp_filters", count);
    }
  }
  return {};
}

}  // namespace spore
