#include "zygote/checkpoint/workplace.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <utility>

#include "sandbox/root_fs.h"
#include "sandbox/steps/step.h"
#include "sandbox/sys/unique_fd.h"
#include "zygote/checkpoint/try_step.h"

namespace spore {
namespace {

Result<UniqueFd> MakeWholeProc() {
  UniqueFd context(fsopen("proc", FSOPEN_CLOEXEC));
  if (!context) return SysError("fsopen proc");
  if (fsconfig(context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) < 0)
    return SysError("fsconfig proc create");
  constexpr unsigned kFlags = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
  UniqueFd mount(fsmount(context.get(), FSMOUNT_CLOEXEC, kFlags));
  if (!mount) return SysError("fsmount proc");
  return mount;
}

}  // namespace

Result<> Workplace::Attach(int mount, const char* place, bool whole_device) {
  struct statx status {};
  if (statx(mount, "", AT_EMPTY_PATH, STATX_MNT_ID, &status) < 0) return SysError("statx", place);
  if ((status.stx_mask & STATX_MNT_ID) == 0)
    return MakeError(ErrorKind::kUnavailable, "the kernel does not tell mounts", "Linux 5.8 does");
  const dev_t device = makedev(status.stx_dev_major, status.stx_dev_minor);
  mounts_.push_back({status.stx_mnt_id, whole_device ? device : 0});
  SPORE_TRY(Try(AttachMount(mount, place), place));
  attached_.push_back(place);
  return {};
}

Result<Workplace> Workplace::Open(const WorkplaceParts& parts) {
  Workplace place;
  UniqueFd proc;
  if (parts.whole_proc) {
    SPORE_ASSIGN(proc, MakeWholeProc());
  }
  SPORE_TRY(place.Attach(parts.files, kCheckpointPlace, /*whole_device=*/true));
  SPORE_TRY(place.Attach(parts.criu, kCriuPlace, /*whole_device=*/false));
  if (proc) SPORE_TRY(place.Attach(proc.get(), "/proc", /*whole_device=*/true));
  bool was_up = false;
  SPORE_TRY(Try(IsLoopbackUp(&was_up)));
  if (was_up) return place;
  SPORE_TRY(Try(SetLoopback(true)));
  place.loopback_ = true;
  return place;
}

Workplace::Workplace(Workplace&& other) noexcept
    : attached_(std::exchange(other.attached_, {})),
      mounts_(std::move(other.mounts_)),
      loopback_(std::exchange(other.loopback_, false)) {}

Workplace::~Workplace() {
  (void)Remove();
}

Result<> Workplace::Remove() {
  Result<> result;
  if (std::exchange(loopback_, false)) result = Try(SetLoopback(false));
  for (; !attached_.empty(); attached_.pop_back()) {
    if (umount2(attached_.back(), MNT_DETACH) < 0) result = SysError("umount", attached_.back());
  }
  return result;
}

}  // namespace spore
