#include "zygote/hosts/common/checkpoint_stop.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "sandbox/policy/seccomp_program.h"
#include "sandbox/root_fs.h"
#include "sandbox/sys/unique_fd.h"
#include "zygote/hosts/common/zygote_loop.h"

namespace spore {
namespace {

Result<> PutInPlaceOf(int fd, const char* placeholder) {
  UniqueFd file(open(placeholder, O_RDONLY | O_CLOEXEC));
  if (!file) return SysError("open", placeholder);
  if (dup3(file.get(), fd, fd == STDERR_FILENO ? 0 : O_CLOEXEC) < 0)
    return SysError("dup3", placeholder);
  return {};
}

}  // namespace

Result<> StopForCheckpoint() {
  if (prctl(PR_GET_SECCOMP, 0, 0, 0, 0) != 0) return {};
  SPORE_ASSIGN(const SeccompProgram base, CompileBaseProgram());
  SPORE_TRY(PutInPlaceOf(kZygoteFd, kChannelPlaceholder));
  SPORE_TRY(PutInPlaceOf(STDERR_FILENO, kMessagesPlaceholder));
  // To this thread, so that it takes none of the steps below before all have stopped.
  if (raise(SIGSTOP) != 0) return SysError("stop");
  if (const int error = LoadSeccompProgramEverywhere(base); error < 0)
    return SysErrorOf(-error, "load the base seccomp filter");
  return {};
}

}  // namespace spore
