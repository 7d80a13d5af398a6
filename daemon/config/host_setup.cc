#include "daemon/config/host_setup.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <time.h>

#include <cerrno>

namespace spore {

Result<> PrepareProcess() {
  umask(0077);
  if (signal(SIGPIPE, SIG_IGN) == SIG_ERR) return SysError("ignore SIGPIPE");
  rlimit files{};
  if (getrlimit(RLIMIT_NOFILE, &files) != 0) return SysError("getrlimit RLIMIT_NOFILE");
  files.rlim_cur = files.rlim_max;
  if (setrlimit(RLIMIT_NOFILE, &files) != 0) return SysError("setrlimit RLIMIT_NOFILE");
  return {};
}

Result<> MakeDirectories(const std::string& path, unsigned mode) {
  for (size_t slash = path.find('/', 1); true; slash = path.find('/', slash + 1)) {
    const bool last = slash == std::string::npos;
    const std::string part = path.substr(0, slash);
    const bool made = mkdir(part.c_str(), last ? mode : 0755) == 0;
    if (!made && errno != EEXIST) return SysError("make directory", part);
    // Past the umask: parents must be searchable by clients.
    if (made && chmod(part.c_str(), last ? mode : 0755) != 0) return SysError("chmod", part);
    if (last) break;
  }
  struct stat status {};
  if (stat(path.c_str(), &status) != 0) return SysError("stat", path);
  if (!S_ISDIR(status.st_mode)) return SysErrorOf(ENOTDIR, "use directory", path);
  return {};
}

namespace {

// A killed daemon's lock is held for a moment longer by what it was just starting, until that has
// passed its exec or died with it.
bool LockWithPatience(int fd) {
  constexpr int kAttempts = 50;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    if (flock(fd, LOCK_EX | LOCK_NB) == 0) return true;
    if (errno != EWOULDBLOCK) return false;
    const timespec pause{.tv_sec = 0, .tv_nsec = 20'000'000};
    nanosleep(&pause, nullptr);
  }
  errno = EWOULDBLOCK;
  return false;
}

}  // namespace

Result<LockFile> LockFile::Take(const std::string& directory) {
  const std::string path = directory + "/spored.lock";
  UniqueFd fd(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd) return SysError("open", path);
  if (!LockWithPatience(fd.get())) {
    if (errno != EWOULDBLOCK) return SysError("lock", path);
    char text[32] = {};
    const ssize_t count = pread(fd.get(), text, sizeof(text) - 1, 0);
    std::string pid(text, count > 0 ? static_cast<size_t>(count) : 0);
    while (!pid.empty() && pid.back() == '\n') pid.pop_back();
    return MakeError(ErrorKind::kPrecondition, directory + " is in use by another spored" +
                                                   (pid.empty() ? "" : ", pid " + pid));
  }
  const std::string pid = std::to_string(getpid()) + "\n";
  if (ftruncate(fd.get(), 0) != 0 ||
      pwrite(fd.get(), pid.data(), pid.size(), 0) != static_cast<ssize_t>(pid.size())) {
    return SysError("write", path);
  }
  return LockFile(std::move(fd));
}

Result<StopSignals> StopSignals::Block() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  if (sigprocmask(SIG_BLOCK, &set, nullptr) != 0) return SysError("block signals");
  StopSignals signals;
  signals.fd_.Reset(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!signals.fd_) return SysError("signalfd");
  return signals;
}

void StopSignals::Watch(EventLoop& loop, std::function<void(int)> stop) {
  watch_ = loop.WatchReadable(fd_.get(), [fd = fd_.get(), stop = std::move(stop)] {
    signalfd_siginfo info{};
    while (read(fd, &info, sizeof(info)) == sizeof(info)) stop(static_cast<int>(info.ssi_signo));
  });
}

}  // namespace spore
