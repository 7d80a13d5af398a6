#include "zygote/checkpoint/workplace.h"

#include <sys/mount.h>
#include <sys/stat.h>

#include <utility>

#include "sandbox/root_fs.h"
#include "sandbox/steps/step.h"
#include "sandbox/sys/unique_fd.h"

namespace spore {
namespace {

Result<> ErrorOf(const StepResult& step, const char* object = "") {
  if (step.ok()) return {};
  return SysErrorOf(step.errno_value, step.operation, object);
}

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

Result<> Workplace::Attach(int mount, const char* place) {
  SPORE_TRY(ErrorOf(AttachMount(mount, place), place));
  attached_.push_back(place);
  return {};
}

Result<Workplace> Workplace::Open(const WorkplaceParts& parts) {
  Workplace place;
  UniqueFd proc;
  if (parts.whole_proc) {
    SPORE_ASSIGN(proc, MakeWholeProc());
  }
  for (const int mount : {parts.files, proc.get()}) {
    struct stat status {};
    if (mount < 0) continue;
    if (fstat(mount, &status) < 0) return SysError("stat a file system of a checkpoint");
    place.devices_.push_back(status.st_dev);
  }
  SPORE_TRY(place.Attach(parts.files, kCheckpointPlace));
  SPORE_TRY(place.Attach(parts.criu, kCriuPlace));
  if (proc) SPORE_TRY(place.Attach(proc.get(), "/proc"));
  bool was_up = false;
  SPORE_TRY(ErrorOf(IsLoopbackUp(&was_up)));
  if (was_up) return place;
  SPORE_TRY(ErrorOf(SetLoopback(true)));
  place.loopback_ = true;
  return place;
}

Workplace::Workplace(Workplace&& other) noexcept
    : attached_(std::exchange(other.attached_, {})),
      devices_(std::move(other.devices_)),
      loopback_(std::exchange(other.loopback_, false)) {}

Workplace::~Workplace() {
  (void)Remove();
}

Result<> Workplace::Remove() {
  Result<> result;
  if (std::exchange(loopback_, false)) result = ErrorOf(SetLoopback(false));
  for (; !attached_.empty(); attached_.pop_back()) {
    if (umount2(attached_.back(), MNT_DETACH) < 0) result = SysError("umount", attached_.back());
  }
  return result;
}

}  // namespace spore
