// Landlock (Documentation/userspace-api/landlock.rst), as a second wall behind the mounts.
//
// The UAPI header of the build host may be older than the running kernel, so what came after ABI 1
// is named here with its value.
#include <fcntl.h>
#include <linux/landlock.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sandbox/steps/step.h"
#include "sandbox/sys/unique_fd.h"

namespace spore {
namespace {

struct RulesetAttr {  // struct landlock_ruleset_attr of ABI 6
  uint64_t handled_access_fs;
  uint64_t handled_access_net;
  uint64_t scoped;
};
constexpr uint64_t kWriteAbi1 = LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR |
                                LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_CHAR |
                                LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG |
                                LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO |
                                LANDLOCK_ACCESS_FS_MAKE_BLOCK | LANDLOCK_ACCESS_FS_MAKE_SYM;
constexpr uint64_t kRefer = 1u << 13;     // ABI 2
constexpr uint64_t kTruncate = 1u << 14;  // ABI 3
constexpr uint64_t kNetTcp = 3;           // ABI 4: bind, connect
constexpr uint64_t kIoctlDev = 1u << 15;  // ABI 5
constexpr uint64_t kScopeAll = 3;         // ABI 6: abstract UNIX sockets, signals
constexpr uint64_t kDevices = LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_BLOCK;

StepResult Allow(int ruleset, const char* path, uint64_t access) {
  UniqueFd parent(open(path, O_PATH | O_CLOEXEC));
  if (!parent) return StepFailed("open a directory for Landlock");
  landlock_path_beneath_attr rule{};
  rule.allowed_access = access;
  rule.parent_fd = parent.get();
  if (syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) < 0)
    return StepFailed("landlock_add_rule");
  return StepOk();
}

}  // namespace

StepResult MakeLandlockRuleset(const char* const* writable, uint32_t count, NetworkPolicy network,
                               int* ruleset_fd) {
  *ruleset_fd = -1;
  const long abi =
      syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION);
  if (abi < 1) {
    if (errno == ENOSYS || errno == EOPNOTSUPP) return StepOk();
    return StepFailed("landlock_create_ruleset version");
  }
  RulesetAttr attr{kWriteAbi1, 0, 0};
  if (abi >= 2) attr.handled_access_fs |= kRefer;
  if (abi >= 3) attr.handled_access_fs |= kTruncate;
  // It can forbid ports, not addresses: those of a namespace that has only `lo` need no more.
  if (abi >= 4 && !network.allows_loopback()) attr.handled_access_net = kNetTcp;
  if (abi >= 5) attr.handled_access_fs |= kIoctlDev;
  if (abi >= 6) attr.scoped = kScopeAll;
  const size_t size = abi >= 6 ? sizeof attr : abi >= 4 ? 16 : 8;
  UniqueFd ruleset(static_cast<int>(syscall(SYS_landlock_create_ruleset, &attr, size, 0)));
  if (!ruleset) return StepFailed("landlock_create_ruleset");
  for (uint32_t i = 0; i < count; ++i) {
    const uint64_t access = attr.handled_access_fs & ~kDevices & ~kIoctlDev;
    if (StepResult r = Allow(ruleset.get(), writable[i], access); !r.ok()) return r;
  }
  // What /dev holds (null, zero, full, random, urandom) may be written to, as everywhere.
  const uint64_t devices = LANDLOCK_ACCESS_FS_WRITE_FILE | (abi >= 3 ? kTruncate : 0);
  if (StepResult r = Allow(ruleset.get(), "/dev", devices); !r.ok()) return r;
  // /proc/self/{comm,oom_score_adj,...}: the kernel decides there by owner.
  if (StepResult r = Allow(ruleset.get(), "/proc", devices); !r.ok()) return r;
  *ruleset_fd = ruleset.Release();
  return StepOk();
}

StepResult RestrictWithLandlock(int ruleset_fd) {
  if (syscall(SYS_landlock_restrict_self, ruleset_fd, 0) < 0)
    return StepFailed("landlock_restrict_self");
  return StepOk();
}

}  // namespace spore
