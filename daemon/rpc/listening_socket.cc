// ListeningSocket of daemon/config/host_setup.h.
#include <fcntl.h>
#include <grp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>

#include <cerrno>
#include <cstring>
#include <optional>
#include <vector>

#include "daemon/config/host_setup.h"

namespace spore {
namespace {

constexpr int kBacklog = 1024;

// Nothing when systemd passed no socket.
Result<UniqueFd> FromSystemd() {
  const int count = sd_listen_fds(/*unset_environment=*/1);
  if (count < 0) return SysErrorOf(-count, "take sockets from systemd");
  if (count == 0) return UniqueFd();
  UniqueFd fd(SD_LISTEN_FDS_START);
  for (int i = 1; i < count; ++i) UniqueFd(SD_LISTEN_FDS_START + i).Reset();
  if (count > 1) {
    return MakeError(ErrorKind::kPrecondition,
                     "systemd passed " + std::to_string(count) + " sockets; expected one",
                     "one ListenStream= in spored.socket");
  }
  if (sd_is_socket(fd.get(), AF_UNIX, SOCK_STREAM, 1) <= 0) {
    return MakeError(ErrorKind::kPrecondition,
                     "what systemd passed is not a listening UNIX stream socket");
  }
  return fd;
}

Result<> RemoveStale(const std::string& path, const sockaddr_un& address) {
  struct stat status {};
  if (lstat(path.c_str(), &status) != 0) {
    if (errno == ENOENT) return {};
    return SysError("stat", path);
  }
  if (!S_ISSOCK(status.st_mode)) {
    return MakeError(ErrorKind::kPrecondition, path + " exists and is not a socket");
  }
  // A spored that was killed may seem to answer for a moment: the kernel drops the references that
  // its io_uring held after it has gone.
  bool answers = true;
  int error = 0;
  for (int attempt = 0; answers && attempt < 60; ++attempt) {
    if (attempt > 0) usleep(50'000);
    UniqueFd probe(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!probe) return SysError("socket");
    const int result =
        connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address));
    error = result == 0 ? 0 : errno;
    // EAGAIN: somebody listens and has a full queue (connect(2)).
    answers = error == 0 || error == EAGAIN;
  }
  if (answers) {
    return MakeError(ErrorKind::kPrecondition, "another process answers on " + path);
  }
  if (error != ECONNREFUSED && error != ENOENT) return SysErrorOf(error, "connect to", path);
  if (unlink(path.c_str()) != 0 && errno != ENOENT) return SysError("remove", path);
  return {};
}

std::optional<gid_t> GroupOf(const std::string& name) {
  if (name.empty()) return std::nullopt;
  std::vector<char> buffer(64 * 1024);
  group entry{};
  group* found = nullptr;
  if (getgrnam_r(name.c_str(), &entry, buffer.data(), buffer.size(), &found) != 0) {
    return std::nullopt;
  }
  return found != nullptr ? std::optional(found->gr_gid) : std::nullopt;
}

}  // namespace

Result<ListeningSocket> ListeningSocket::Open(const std::string& path, const std::string& group) {
  ListeningSocket listening;
  SPORE_ASSIGN(listening.fd_, FromSystemd());
  if (listening.fd_) return listening;

  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof(address.sun_path)) {
    return MakeError(ErrorKind::kInvalid, "socket path \"" + path + "\" has " +
                                              std::to_string(path.size()) +
                                              " bytes; expected 1 to 107");
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  const std::string parent = path.substr(0, path.rfind('/'));
  if (!parent.empty() && parent != path) SPORE_TRY(MakeDirectories(parent, 0755));
  SPORE_TRY(RemoveStale(path, address));

  listening.fd_.Reset(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!listening.fd_) return SysError("socket");
  // Nobody else may connect before the owner is set.
  const mode_t mask = umask(0177);
  const int bound =
      bind(listening.fd_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address));
  const int bind_errno = errno;
  umask(mask);
  if (bound != 0) return SysErrorOf(bind_errno, "bind socket", path);
  struct stat status {};
  if (lstat(path.c_str(), &status) != 0) return SysError("stat", path);
  listening.path_ = path;
  listening.device_ = status.st_dev;
  listening.inode_ = status.st_ino;
  if (const auto gid = GroupOf(group)) {
    if (chown(path.c_str(), 0, *gid) != 0) return SysError("chown", path);
    if (chmod(path.c_str(), 0660) != 0) return SysError("chmod", path);
  }
  if (listen(listening.fd_.get(), kBacklog) != 0) return SysError("listen on", path);
  return listening;
}

ListeningSocket::ListeningSocket(ListeningSocket&& other) noexcept
    : fd_(std::move(other.fd_)),
      path_(std::exchange(other.path_, {})),
      device_(other.device_),
      inode_(other.inode_) {}

ListeningSocket::~ListeningSocket() {
  if (path_.empty()) return;
  struct stat status {};
  if (lstat(path_.c_str(), &status) == 0 && status.st_dev == device_ && status.st_ino == inode_) {
    unlink(path_.c_str());
  }
}

}  // namespace spore
