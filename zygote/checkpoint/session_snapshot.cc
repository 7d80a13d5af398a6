#include "zygote/checkpoint/session_snapshot.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/nsfs.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>
#include <utility>

#include "sandbox/sys/printable.h"
#include "sandbox/sys/unique_fd.h"
#include "zygote/branch/process_maps.h"
#include "zygote/branch/source_process.h"
#include "zygote/branch/thread_state.h"
#include "zygote/checkpoint/process_facts.h"

namespace spore {
namespace {

constexpr int kMostLooks = 500;
constexpr useconds_t kLookUs = 1000;
constexpr const char* kNamespaces[] = {
    "user", "pid", "pid_for_children", "mnt",  "net",
    "ipc",  "uts", "cgroup",           "time", "time_for_children"};

std::string ReadLink(const std::string& path) {
  char target[PATH_MAX];
  const ssize_t length = readlink(path.c_str(), target, sizeof target);
  return {target, length > 0 ? static_cast<size_t>(length) : 0};
}

std::string ReadFile(const std::string& path) {
  const std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

// Of /proc/PID/status, without what goes on by itself: signals that wait, memory, times.
constexpr const char* kIdentity[] = {"Name",    "Umask",          "Tgid",   "PPid",   "Uid",
                                     "Gid",     "Groups",         "SigIgn", "SigCgt", "CapInh",
                                     "CapPrm",  "CapEff",         "CapBnd", "CapAmb", "NoNewPrivs",
                                     "Seccomp", "Seccomp_filters"};

// On its way from one stop to the next, which takes a moment, it is nowhere.
std::string PlaceOf(pid_t tid) {
  std::string place = "running";
  for (int i = 0; i < kMostLooks && place.starts_with("running"); ++i) {
    if (i > 0) usleep(kLookUs);
    place = ReadFile(fmt::format("/proc/{}/syscall", tid));
  }
  return place;
}

ino_t NumberOf(int file) {
  struct stat status {};
  return fstat(file, &status) < 0 ? 0 : status.st_ino;
}

enum class Nesting { kBeside, kWithin, kBelow };

// Where the pid namespace of a process is, seen from this one.
Result<Nesting> NestingOf(pid_t pid, ino_t inside) {
  UniqueFd at(open(fmt::format("/proc/{}/ns/pid", pid).c_str(), O_RDONLY | O_CLOEXEC));
  if (!at) {
    if (HasEnded(pid)) return Nesting::kBeside;
    return SysError("open the pid namespace of a process of the session");
  }
  if (NumberOf(at.get()) == inside) return Nesting::kWithin;
  for (;;) {
    UniqueFd above(ioctl(at.get(), NS_GET_PARENT));
    if (!above && errno == EPERM) return Nesting::kBeside;  // past our own
    if (!above) return SysError("NS_GET_PARENT");
    if (NumberOf(above.get()) == inside) return Nesting::kBelow;
    at = std::move(above);
  }
}

// A table that the first thread has not would be seen by nobody, nor be dumped.
Result<> CheckTable(pid_t pid, pid_t tid) {
  if (tid == pid) return {};
  const Result<bool> own = HasOwnTable(pid, tid);
  if ((own && !*own) || HasEnded(pid) || HasEnded(tid)) return {};
  if (!own) return tl::unexpected(own.error());
  return MakeError(ErrorKind::kPrecondition,
                   fmt::format("a thread of process {} has a table of descriptors of its own",
                               NumberInside(pid)));
}

Result<std::vector<pid_t>> ProcessesOf(const SessionCgroup& cgroup, pid_t agent) {
  SPORE_ASSIGN(const std::vector<pid_t> all, cgroup.Processes());
  const UniqueFd own(open(fmt::format("/proc/{}/ns/pid", agent).c_str(), O_RDONLY | O_CLOEXEC));
  if (!own) return MakeError(ErrorKind::kPrecondition, "the session has ended");
  const ino_t inside = NumberOf(own.get());
  std::vector<pid_t> pids;
  for (const pid_t pid : all) {
    SPORE_ASSIGN(const Nesting nesting, NestingOf(pid, inside));
    if (nesting == Nesting::kBelow)
      return MakeError(ErrorKind::kPrecondition,
                       fmt::format("a program in it has a pid namespace of its own: {}",
                                   Printable(StatusLine(pid, "Name"))));
    // Beside it: the proxy of a session with a way out, and its init.
    if (nesting == Nesting::kWithin && NumberInside(pid) > 1) pids.push_back(pid);
  }
  return pids;
}

}  // namespace

void SessionSnapshot::Add(pid_t pid, const char* what, std::string value) {
  facts_.emplace(fmt::format("{} {}", pid, what), std::move(value));
}

Result<SessionSnapshot> SessionSnapshot::Take(const SessionCgroup& cgroup, pid_t agent) {
  SessionSnapshot snapshot;
  snapshot.agent_ = agent;
  SPORE_ASSIGN(const std::vector<pid_t> pids, ProcessesOf(cgroup, agent));
  for (const pid_t pid : pids) {
    const Result<> added = snapshot.AddProcess(pid);
    if (!added && added.error().kind != ErrorKind::kNotFound) return tl::unexpected(added.error());
  }
  return snapshot;
}

Result<> SessionSnapshot::AddProcess(pid_t pid) {
  SPORE_ASSIGN(const std::vector<pid_t> threads, ThreadsOf(pid));
  const std::string place = fmt::format("/proc/{}/", pid);
  Add(pid, "maps", ReadFile(place + "maps"));
  Add(pid, "exe", ReadLink(place + "exe"));
  std::string descriptors;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(place + "fd", error))
    descriptors += entry.path().filename().string() + " " + ReadLink(entry.path()) + "\n";
  Add(pid, "descriptors", std::move(descriptors));
  SPORE_TRY(AddFirstPages(pid));
  for (const pid_t tid : threads) {
    SPORE_TRY(CheckTable(pid, tid));
    SPORE_TRY(AddThread(tid));
  }
  processes_.push_back(NumberInside(pid));
  return {};
}

Result<> SessionSnapshot::AddThread(pid_t tid) {
  const pid_t number = NumberInside(tid);
  if (number == 0) return MakeError(ErrorKind::kNotFound, "it has ended");
  numbers_.push_back(number);
  // Each has its own of these, or may have.
  const std::string place = fmt::format("/proc/{}/", tid);
  for (const char* name : kNamespaces) Add(tid, name, ReadLink(place + "ns/" + name));
  for (const char* name : {"cwd", "root"}) Add(tid, name, ReadLink(place + name));
  for (const char* name : kIdentity) Add(tid, name, StatusLine(tid, name));
  Add(tid, "mask", StatusLine(tid, "SigBlk"));
  Add(tid, "place", PlaceOf(tid));
  return {};
}

// Where CRIU puts an instruction of its own for a moment: at the beginning of what can be executed.
Result<> SessionSnapshot::AddFirstPages(pid_t pid) {
  SPORE_ASSIGN(const std::vector<Mapping> maps, ReadMappings(pid));
  std::string pages, page(kPageBytes, '\0');
  for (const Mapping& mapping : maps) {
    if ((mapping.protection & PROT_EXEC) == 0 || mapping.IsKernels()) continue;
    iovec own{page.data(), page.size()};
    iovec theirs{reinterpret_cast<void*>(mapping.begin), page.size()};
    const ssize_t got = process_vm_readv(pid, &own, 1, &theirs, 1, 0);
    pages.append(page, 0, got > 0 ? static_cast<size_t>(got) : 0);
    pages += '\n';
  }
  Add(pid, "code", std::move(pages));
  return {};
}

namespace {

// The signals that a thread blocks. One that waits under a mask given with the call has that until
// then, and is given its own as soon as anybody asks for it (PTRACE_SETSIGMASK).
bool MayHaveMask(const std::string& now, const std::string& place) {
  constexpr long kWaiting[] = {SYS_rt_sigsuspend, SYS_ppoll, SYS_pselect6, SYS_epoll_pwait,
                               SYS_epoll_pwait2};
  constexpr uint64_t kAll = ~(1ull << (SIGKILL - 1) | 1ull << (SIGSTOP - 1));
  const long call = strtol(place.c_str(), nullptr, 10);
  return (strtoull(now.c_str(), nullptr, 16) & kAll) != kAll &&
         std::find(std::begin(kWaiting), std::end(kWaiting), call) != std::end(kWaiting);
}

// Where a thread is, and in which call with which arguments, as /proc/PID/syscall has it. One that
// is in a call may stand before the instruction by now, as it will make the call again.
bool IsSamePlace(const std::string& before, const std::string& now) {
  if (before == now) return true;
  const size_t at = before.rfind(' ');
  if (at == before.npos || before.starts_with("-1") || before.compare(0, at, now, 0, at) != 0)
    return false;
  constexpr uintptr_t kInstructionBytes = 2;
  return strtoul(now.c_str() + at, nullptr, 16) + kInstructionBytes ==
         strtoul(before.c_str() + at, nullptr, 16);
}

}  // namespace

Result<> SessionSnapshot::Compare(const SessionSnapshot& now) const {
  if (now.facts_.find(fmt::format("{} maps", agent_)) == now.facts_.end())
    return MakeError(ErrorKind::kPrecondition, "the session has ended meanwhile");
  for (const auto& [name, value] : now.facts_) {
    const auto before = facts_.find(name);
    if (before != facts_.end() && before->second == value) continue;
    const pid_t pid = static_cast<pid_t>(strtol(name.c_str(), nullptr, 10));
    const auto place = facts_.find(fmt::format("{} place", pid));
    if (before != facts_.end() && place != facts_.end()) {
      if (name.ends_with(" place") && IsSamePlace(before->second, value)) continue;
      if (name.ends_with(" mask") && MayHaveMask(value, place->second)) continue;
    }
    return MakeError(ErrorKind::kInternal,
                     fmt::format("process {} of the session is not as it was: {}",
                                 NumberInside(pid), name.substr(name.find(' ') + 1)));
  }
  return {};
}

Result<> CheckNothingInFlight(const SessionCgroup& cgroup) {
  SPORE_ASSIGN(const std::vector<pid_t> pids, cgroup.Processes());
  for (const pid_t pid : pids) {
    std::error_code error;
    const std::string place = fmt::format("/proc/{}/fdinfo", pid);
    for (const auto& entry : std::filesystem::directory_iterator(place, error)) {
      if (!HasDescriptorsInFlight(entry.path())) continue;
      return MakeError(ErrorKind::kPrecondition,
                       fmt::format("descriptors are on their way over a socket of process {}",
                                   NumberInside(pid)),
                       "try again when they have been received");
    }
  }
  return {};
}

}  // namespace spore
