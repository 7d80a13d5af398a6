#include "sandbox/policy/denied_calls.h"

#include <algorithm>
#include <array>
#include <set>

#include "sandbox/sys/printable.h"

namespace spore {
namespace {

using Name = std::string_view;

constexpr size_t kMaxNameBytes = 64;

constexpr std::array kExec = std::to_array<Name>({"execve", "execveat"});
// And clone(2) without CLONE_THREAD.
constexpr std::array kFork = std::to_array<Name>({"fork", "vfork"});
// Messages are not among them: a runtime answers by those.
constexpr std::array kSockets =
    std::to_array<Name>({"socket", "socketpair", "bind", "listen", "connect", "accept", "accept4"});
constexpr std::array kPriorities = std::to_array<Name>(
    {"setpriority", "sched_setparam", "sched_setscheduler", "sched_setattr", "sched_setaffinity"});
constexpr std::array kAttributes = std::to_array<Name>(
    {"getxattr", "lgetxattr", "fgetxattr", "listxattr", "llistxattr", "flistxattr"});
constexpr std::array kLockedMemory =
    std::to_array<Name>({"mlock", "mlock2", "mlockall", "munlock", "munlockall"});
constexpr std::array kSpecialFiles =
    std::to_array<Name>({"memfd_create", "mknod", "mknodat", "pipe", "pipe2"});

constexpr std::array kGroups = std::to_array<DeniableGroup>({
    {"exec", "execute another program", kExec},
    {"fork", "make processes; threads can be made", kFork},
    {"sockets", "make, bind and connect sockets and pairs of them", kSockets},
    {"priorities", "change priorities, scheduling policies and affinity", kPriorities},
    {"attributes", "read extended attributes", kAttributes},
    {"locked-memory", "lock memory", kLockedMemory},
    {"special-files", "make pipes and files without a name in a file system", kSpecialFiles},
});

// To take a request, load code, call a handler and answer.
constexpr std::array kNeeded =
    std::to_array<Name>({"read",           "write",           "close",         "fstat",
                         "newfstatat",     "lseek",           "openat",        "mmap",
                         "munmap",         "mprotect",        "madvise",       "brk",
                         "rt_sigaction",   "rt_sigprocmask",  "rt_sigreturn",  "sigaltstack",
                         "recvmsg",        "recvfrom",        "sendmsg",       "sendto",
                         "poll",           "futex",           "clone",         "exit",
                         "exit_group",     "gettid",          "getpid",        "set_robust_list",
                         "rseq",           "restart_syscall", "chdir",         "fcntl",
                         "prctl",          "ioctl",           "clock_gettime", "nanosleep",
                         "clock_nanosleep"});
// Of those whose arguments decide (seccomp_program.cc), what may be denied as a whole.
constexpr std::array kArgumentCalls =
    std::to_array<Name>({"mknod", "mknodat", "socket", "socketpair"});

template <typename Names>
const Name* FindIn(const Names& names, Name name) {
  const auto found = std::find(std::begin(names), std::end(names), name);
  return found == std::end(names) ? nullptr : &*found;
}

const DeniableGroup* FindGroup(Name name) {
  const auto* found = std::find_if(kGroups.begin(), kGroups.end(),
                                   [&](const DeniableGroup& group) { return group.name == name; });
  return found == kGroups.end() ? nullptr : &*found;
}

// The tables' own text of it; null: tenants do not have it.
const Name* FindCall(Name name) {
  for (const CallGroup& group : TenantCalls()) {
    if (const Name* found = FindIn(group.names, name); found != nullptr) return found;
  }
  return FindIn(kArgumentCalls, name);
}

bool IsRefusedToAll(Name name) {
  const auto has = [&](const CallGroup& group) { return FindIn(group.names, name) != nullptr; };
  return std::any_of(ForbiddenCalls().begin(), ForbiddenCalls().end(), has) ||
         std::any_of(SetupCalls().begin(), SetupCalls().end(), has);
}

tl::unexpected<Error> Refuse(Name name, Name why) {
  // By hand: a library beyond libc would have to be in every imported image.
  return MakeError(ErrorKind::kInvalid,
                   "\"" + Printable(name.substr(0, kMaxNameBytes)) + "\" " + std::string(why));
}

std::string GroupNames() {
  std::string names;
  for (const DeniableGroup& group : kGroups) names.append(names.empty() ? "" : ", ") += group.name;
  return names;
}

}  // namespace

std::span<const DeniableGroup> DeniableGroups() {
  return kGroups;
}

Result<DeniedCalls> DeniedCalls::Parse(std::string_view list) {
  std::vector<std::string> names;
  for (size_t at = 0; at < list.size();) {
    const size_t end = std::min(list.find(',', at), list.size());
    names.emplace_back(list.substr(at, end - at));
    at = end + 1;
  }
  return Make(names);
}

Result<DeniedCalls> DeniedCalls::Make(std::span<const std::string> names) {
  DeniedCalls denied;
  std::set<Name> calls;
  for (const std::string& name : names) {
    if (const DeniableGroup* group = FindGroup(name); group != nullptr) {
      calls.insert(group->calls.begin(), group->calls.end());
      if (group->name == "fork") denied.processes_ = true;
      continue;
    }
    if (FindIn(kNeeded, name) != nullptr)
      return Refuse(name, "cannot be denied: a runtime takes requests and answers with it");
    if (IsRefusedToAll(name)) return Refuse(name, "need not be denied: no tenant may call it");
    const Name* call = FindCall(name);
    if (call == nullptr) {
      return Refuse(name, "is no system call that tenants may make, and no group; groups are " +
                              GroupNames());
    }
    calls.insert(*call);
  }
  denied.calls_.assign(calls.begin(), calls.end());
  return denied;
}

}  // namespace spore
