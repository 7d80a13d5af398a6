#include "daemon/instances/standard_stream.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <string_view>

#include "daemon/instances/output_capture.h"
#include "sandbox/sys/unique_fd.h"

namespace spore {
namespace {

enum class Kind { kDirectory, kRegular, kOther, kUnknown };

// Asked in a way that no file system takes part in: the descriptor is a client's, and fstat(2) on a
// FUSE or network file system could wait for ever. copy_file_range(2) of no bytes looks at the
// kinds of both files before anything else, and at whether they can be read and written next.
Kind KindOf(int fd) {
  const UniqueFd target(memfd_create("spore-kind", MFD_CLOEXEC));
  if (!target) return Kind::kUnknown;
  if (copy_file_range(fd, nullptr, target.get(), nullptr, 0, 0) == 0) return Kind::kRegular;
  if (errno == EISDIR) return Kind::kDirectory;
  if (errno == EINVAL) return Kind::kOther;
  return errno == EBADF || errno == EXDEV || errno == EOPNOTSUPP ? Kind::kRegular : Kind::kUnknown;
}

// Kernels differ in whether what has no name (a pidfd) counts as a regular file; proc(5) shows
// "anon_inode:[pidfd]" and "net:[4026531840]" for those, a path for files and memfds.
bool HasPath(int fd) {
  char first = 0;
  const std::string link = "/proc/self/fd/" + std::to_string(fd);
  return readlink(link.c_str(), &first, 1) == 1 && first == '/';
}

bool IsSocket(int fd) {
  int type = 0;
  socklen_t size = sizeof type;
  return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0;
}

// Numbers from the kernel's Documentation/admin-guide/devices.txt.
bool IsHarmlessDevice(dev_t device) {
  constexpr unsigned kMemory = 1, kConsoles = 4, kTerminals = 5, kFirstPty = 136, kLastPty = 143;
  constexpr std::array<unsigned, 5> kMemoryMinors = {3, 5, 7, 8, 9};  // null .. urandom
  const unsigned kind = major(device);
  if (kind == kMemory) {
    return std::find(kMemoryMinors.begin(), kMemoryMinors.end(), minor(device)) !=
           kMemoryMinors.end();
  }
  if (kind == kTerminals) return minor(device) <= 1;  // /dev/tty, /dev/console; not ptmx
  // Serial lines and those of virtual machines: TTYs all the same.
  constexpr std::array<unsigned, 3> kLines = {188, 204, 229};
  return kind == kConsoles || (kind >= kFirstPty && kind <= kLastPty) ||
         std::find(kLines.begin(), kLines.end(), kind) != kLines.end();
}

Result<> Refuse(const std::string& stream, const std::string& what) {
  return MakeError(ErrorKind::kInvalid, stream + ": " + what +
                                            "; expected a regular file, a pipe, a socket, a "
                                            "terminal or /dev/null");
}

// A pipe without a name (pipe(7)). Asked in ways that no file system takes part in: the descriptor
// is a client's, and a call to a FUSE or network file system could wait for ever.
bool IsAnonymousPipe(int fd) {
  if (fcntl(fd, F_GETPIPE_SZ) < 0) return false;
  constexpr std::string_view kPrefix = "pipe:[";
  char target[kPrefix.size()];
  const std::string link = "/proc/self/fd/" + std::to_string(fd);
  const ssize_t length = readlink(link.c_str(), target, sizeof target);
  return length > 0 && std::string_view(target, static_cast<size_t>(length)) == kPrefix;
}

}  // namespace

Result<> LetReopenOutput(int fd) {
  const int flags = fcntl(fd, F_GETFL);
  if (flags < 0 || (flags & O_PATH) != 0 || (flags & O_ACCMODE) == O_RDONLY) return {};
  if (!IsAnonymousPipe(fd)) return {};
  return LetReopenForWriting(fd);
}

Result<> CheckStandardStream(int fd, const std::string& stream) {
  const int flags = fcntl(fd, F_GETFL);
  if (flags < 0) return SysError("F_GETFL", stream);
  if ((flags & O_PATH) != 0) return Refuse(stream, "a descriptor opened with O_PATH");
  if (fcntl(fd, F_GETPIPE_SZ) >= 0 || IsSocket(fd)) return {};
  switch (KindOf(fd)) {
    case Kind::kDirectory:
      return Refuse(stream, "a directory");
    case Kind::kRegular:
      if (!HasPath(fd)) return Refuse(stream, "a descriptor that is no file");
      if (stream == "stdin" && (flags & O_ACCMODE) == O_WRONLY) {
        return Refuse(stream, "a file that is open for writing only");
      }
      return {};
    case Kind::kOther:
      break;
    case Kind::kUnknown:
      return Refuse(stream, "a descriptor of a kind that could not be found out");
  }
  // Neither a file nor a directory: no file system of an unprivileged user has such (mount(8),
  // nodev), so this waits for nobody.
  struct stat status {};
  if (fstat(fd, &status) != 0) return SysError("fstat", stream);
  if (!S_ISCHR(status.st_mode)) return Refuse(stream, "a descriptor that is no file");
  if (IsHarmlessDevice(status.st_rdev)) return {};
  return Refuse(stream, "a device (" + std::to_string(major(status.st_rdev)) + ":" +
                            std::to_string(minor(status.st_rdev)) + ")");
}

}  // namespace spore
