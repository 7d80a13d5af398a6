#include "tools/gateway/privileges.h"

#include <grp.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>

namespace spore::gateway {
namespace {

client::Result<> Become(const std::string& name) {
  errno = 0;
  const passwd* entry = ::getpwnam(name.c_str());
  if (entry == nullptr) return client::LocalError("--user " + name + ": no such user", errno);
  if (entry->pw_uid == 0)
    return client::LocalError("--user " + name + ": is root; name one that has no privileges");
  const uid_t uid = entry->pw_uid;
  const gid_t gid = entry->pw_gid;
  if (::initgroups(name.c_str(), gid) != 0) return client::LocalError("initgroups", errno);
  if (::setresgid(gid, gid, gid) != 0) return client::LocalError("setresgid", errno);
  // With the last of the uids the capabilities go (capabilities(7)).
  if (::setresuid(uid, uid, uid) != 0) return client::LocalError("setresuid", errno);
  if (::setuid(0) == 0) return client::LocalError("root could be had back");
  return {};
}

}  // namespace

client::Result<> GiveUpPrivileges(const std::string& user) {
  if (::geteuid() == 0 || ::getuid() == 0) {
    if (user.empty()) {
      return client::LocalError(
          "spore-gateway does not run as root; start it as a member of the group spore, or say "
          "--user NAME and it becomes that one");
    }
    if (auto done = Become(user); !done) return done;
  } else if (!user.empty()) {
    const passwd* entry = ::getpwnam(user.c_str());
    if (entry == nullptr || entry->pw_uid != ::geteuid())
      return client::LocalError("--user " + user + ": only root can become somebody else");
  }
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
    return client::LocalError("prctl PR_SET_NO_NEW_PRIVS", errno);
  const rlimit none{0, 0};
  if (::setrlimit(RLIMIT_CORE, &none) != 0) return client::LocalError("setrlimit", errno);
  if (::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0)
    return client::LocalError("prctl PR_SET_DUMPABLE", errno);
  return {};
}

std::size_t RaiseDescriptorLimit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return 1024;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
  ::getrlimit(RLIMIT_NOFILE, &limit);
  return static_cast<std::size_t>(limit.rlim_cur);
}

}  // namespace spore::gateway
