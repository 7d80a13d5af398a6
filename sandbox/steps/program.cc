// The program of a run, written into the file system that spored has made for it. By the sandbox
// itself, so that its memory is charged to the sandbox.
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>

#include "sandbox/steps/step.h"
#include "sandbox/sys/unique_fd.h"

namespace spore {
namespace {

constexpr size_t kPiece = 64 * 1024;

StepResult Copy(int from, int to) {
  char piece[kPiece];
  for (off_t at = 0;;) {
    const ssize_t got = TEMP_FAILURE_RETRY(pread(from, piece, sizeof piece, at));
    if (got < 0) return StepFailed("read the program");
    if (got == 0) return StepOk();
    for (ssize_t done = 0; done < got;) {
      const ssize_t put =
          TEMP_FAILURE_RETRY(write(to, piece + done, static_cast<size_t>(got - done)));
      if (put <= 0) return StepFailed("write the program");
      done += put;
    }
    at += got;
  }
}

}  // namespace

StepResult PlaceProgram(int contents, int place, const char* mount_point) {
  // A name for what has none here: proc(5). The descriptor itself cannot be written to, so that it
  // keeps nobody from executing the file (ETXTBSY).
  char path[32];
  snprintf(path, sizeof path, "/proc/self/fd/%d", place);
  {
    UniqueFd file(open(path, O_WRONLY | O_CLOEXEC));
    if (!file) return StepFailed("open the program's place");
    if (StepResult r = Copy(contents, file.get()); !r.ok()) return r;
    if (fchmod(file.get(), 0555) < 0) return StepFailed("fchmod the program");
  }
  constexpr unsigned long kFlags = MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV;
  if (mount(nullptr, mount_point, nullptr, kFlags, nullptr) < 0)
    return StepFailed("make the program's mount read-only");
  return StepOk();
}

}  // namespace spore
