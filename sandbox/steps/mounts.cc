// One tmpfs carries /tmp and /dev/shm, so that one size bounds both. A new procfs can be mounted
// in a user namespace only while another, fully visible one is there (mount_too_revealing in the
// kernel's fs/namespace.c), so the zygote's stays underneath; it is out of reach for a process
// that may not unmount.
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>

#include "sandbox/steps/step.h"
#include "sandbox/sys/unique_fd.h"

namespace spore {
namespace {

constexpr unsigned kFlags = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;
constexpr const char* kStage = "/run/private";  // made by the image's root, see root_fs.cc

void PutNumber(char (&text)[24], uint64_t value) {
  snprintf(text, sizeof text, "%llu", static_cast<unsigned long long>(value));
}

StepResult MountProc() {
  UniqueFd context(fsopen("proc", FSOPEN_CLOEXEC));
  if (!context) return StepFailed("fsopen proc");
  if (fsconfig(context.get(), FSCONFIG_SET_STRING, "subset", "pid", 0) < 0)
    return StepFailed("fsconfig proc subset=pid");
  // Nor the sandbox's init, which may be in other namespaces than its tenant (proc(5)).
  if (fsconfig(context.get(), FSCONFIG_SET_STRING, "hidepid", "invisible", 0) < 0)
    return StepFailed("fsconfig proc hidepid=invisible");
  if (fsconfig(context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) < 0)
    return StepFailed("fsconfig proc create");
  UniqueFd mount(fsmount(context.get(), FSMOUNT_CLOEXEC, kFlags | MOUNT_ATTR_NOEXEC));
  if (!mount) return StepFailed("fsmount proc");
  return AttachMount(mount.get(), "/proc");
}

StepResult MountTmpfs(const PrivateMounts& mounts) {
  char size[24], inodes[24];
  PutNumber(size, mounts.tmp_bytes);
  PutNumber(inodes, mounts.tmp_inodes);
  UniqueFd context(fsopen("tmpfs", FSOPEN_CLOEXEC));
  if (!context) return StepFailed("fsopen tmpfs");
  if (fsconfig(context.get(), FSCONFIG_SET_STRING, "size", size, 0) < 0)
    return StepFailed("fsconfig tmpfs size");
  if (fsconfig(context.get(), FSCONFIG_SET_STRING, "nr_inodes", inodes, 0) < 0)
    return StepFailed("fsconfig tmpfs nr_inodes");
  if (fsconfig(context.get(), FSCONFIG_SET_STRING, "mode", "0755", 0) < 0)
    return StepFailed("fsconfig tmpfs mode");
  if (fsconfig(context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) < 0)
    return StepFailed("fsconfig tmpfs create");
  UniqueFd mount(fsmount(context.get(), FSMOUNT_CLOEXEC, kFlags));
  if (!mount) return StepFailed("fsmount tmpfs");
  return AttachMount(mount.get(), kStage);
}

StepResult BindFromStage(const char* source, const char* target) {
  if (mkdir(source, 0) < 0) return StepFailed("mkdir in the private tmpfs");
  if (chmod(source, 01777) < 0) return StepFailed("chmod in the private tmpfs");
  if (mount(source, target, nullptr, MS_BIND, nullptr) < 0)
    return StepFailed("bind the private tmpfs on /tmp and /dev/shm");
  return StepOk();
}

}  // namespace

StepResult AttachMount(int mount_fd, const char* target) {
  if (move_mount(mount_fd, "", AT_FDCWD, target, MOVE_MOUNT_F_EMPTY_PATH) < 0)
    return StepFailed("move_mount");
  return StepOk();
}

StepResult MountPrivate(const PrivateMounts& mounts) {
  if (StepResult r = MountProc(); !r.ok()) return r;
  if (StepResult r = MountTmpfs(mounts); !r.ok()) return r;
  if (StepResult r = BindFromStage("/run/private/tmp", "/tmp"); !r.ok()) return r;
  if (StepResult r = BindFromStage("/run/private/shm", "/dev/shm"); !r.ok()) return r;
  if (umount2(kStage, MNT_DETACH) < 0) return StepFailed("umount the staging place of /tmp");
  return StepOk();
}

StepResult ResizeTmp(uint64_t tmp_bytes) {
  char option[40];
  snprintf(option, sizeof option, "size=%llu", static_cast<unsigned long long>(tmp_bytes));
  if (mount(nullptr, "/tmp", nullptr, MS_REMOUNT | MS_NOSUID | MS_NODEV, option) < 0)
    return StepFailed("remount /tmp with its size");
  return StepOk();
}

}  // namespace spore
