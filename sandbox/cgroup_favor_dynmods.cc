#include "sandbox/cgroup_favor_dynmods.h"

#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

namespace spore {
namespace {

// mount(8) knows these; glibc has wrappers since 2.36.
long Configure(const UniqueFd& context, unsigned command, const char* key, const char* value) {
  return syscall(SYS_fsconfig, context.get(), command, key, value, 0);
}

Result<UniqueFd> Mount() {
  // Shared by all who ask for it; in use as long as one of them is.
  constexpr char kName[] = "spore-favordynmods";
  UniqueFd context(static_cast<int>(syscall(SYS_fsopen, "cgroup", FSOPEN_CLOEXEC)));
  if (!context) return SysError("fsopen", "cgroup");
  if (Configure(context, FSCONFIG_SET_FLAG, "none", nullptr) < 0 ||
      Configure(context, FSCONFIG_SET_STRING, "name", kName) < 0 ||
      Configure(context, FSCONFIG_SET_FLAG, "favordynmods", nullptr) < 0 ||
      Configure(context, FSCONFIG_CMD_CREATE, nullptr, nullptr) < 0)
    return SysError("mount cgroup with favordynmods", kName, "needs Linux 6.0 or later");
  UniqueFd mount(static_cast<int>(syscall(SYS_fsmount, context.get(), FSMOUNT_CLOEXEC, 0)));
  if (!mount) return SysError("fsmount", kName);
  return mount;
}

}  // namespace

Result<UniqueFd> MountFavorDynmods() {
  // EBUSY: a hierarchy of that name is just going away. The kernel has waited 10 ms by then and
  // restarts the system call, which finds the context used up.
  constexpr int kTries = 10;
  Result<UniqueFd> mount = Mount();
  for (int i = 1; i < kTries && !mount && mount.error().errno_value == EBUSY; ++i) mount = Mount();
  return mount;
}

}  // namespace spore
