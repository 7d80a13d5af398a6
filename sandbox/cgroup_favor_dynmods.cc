#include "sandbox/cgroup_favor_dynmods.h"

#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace spore {
namespace {

// mount(8) knows these; glibc has wrappers since 2.36.
long Configure(const UniqueFd& context, unsigned command, const char* key, const char* value) {
  return syscall(SYS_fsconfig, context.get(), command, key, value, 0);
}

}  // namespace

Result<UniqueFd> MountFavorDynmods(const std::string& name) {
  UniqueFd context(static_cast<int>(syscall(SYS_fsopen, "cgroup", FSOPEN_CLOEXEC)));
  if (!context) return SysError("fsopen", "cgroup");
  if (Configure(context, FSCONFIG_SET_FLAG, "none", nullptr) < 0 ||
      Configure(context, FSCONFIG_SET_STRING, "name", name.c_str()) < 0 ||
      Configure(context, FSCONFIG_SET_FLAG, "favordynmods", nullptr) < 0 ||
      Configure(context, FSCONFIG_CMD_CREATE, nullptr, nullptr) < 0)
    return SysError("mount cgroup with favordynmods", name, "needs Linux 6.0 or later");
  UniqueFd mount(static_cast<int>(syscall(SYS_fsmount, context.get(), FSMOUNT_CLOEXEC, 0)));
  if (!mount) return SysError("fsmount", name);
  return mount;
}

}  // namespace spore
