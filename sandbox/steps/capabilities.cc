#include <linux/capability.h>
#include <linux/securebits.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sandbox/steps/step.h"

namespace spore {
namespace {

// libcap's cap_set_proc allocates and, in programs linked with libpsx, signals every thread; a
// step may do neither, so the sets are written with the system call of capset(2) itself.
int SetThreadCapabilities(uint64_t sets) {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2] = {};
  for (int i = 0; i < 2; ++i) {
    const auto word = static_cast<uint32_t>(sets >> (32 * i));
    data[i].permitted = word;
    data[i].effective = word;
  }
  return static_cast<int>(syscall(SYS_capset, &header, data));
}

}  // namespace

StepResult LimitBoundingSet(uint64_t keep) {
  if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
    return StepFailed("prctl PR_CAP_AMBIENT_CLEAR_ALL");
  for (cap_value_t cap = 0; cap < 64; ++cap) {
    const int set = prctl(PR_CAPBSET_READ, cap, 0, 0, 0);
    if (set < 0) break;  // beyond the last capability that this kernel knows
    if (set == 1 && (keep & (1ull << cap)) == 0 && prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0)
      return StepFailed("prctl PR_CAPBSET_DROP");
  }
  return StepOk();
}

StepResult KeepCapabilities() {
  if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0) return StepFailed("prctl PR_SET_KEEPCAPS");
  return StepOk();
}

StepResult LockSecurebits() {
  constexpr unsigned long kLocked =
      SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP_LOCKED |
      SECBIT_KEEP_CAPS_LOCKED | SECBIT_NO_CAP_AMBIENT_RAISE | SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED;
  if (prctl(PR_SET_SECUREBITS, kLocked, 0, 0, 0) < 0) return StepFailed("prctl PR_SET_SECUREBITS");
  return StepOk();
}

StepResult SetCapabilities(uint64_t sets) {
  if (SetThreadCapabilities(sets) < 0) return StepFailed("capset");
  return StepOk();
}

StepResult SetNoNewPrivs() {
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) return StepFailed("prctl PR_SET_NO_NEW_PRIVS");
  return StepOk();
}

}  // namespace spore
