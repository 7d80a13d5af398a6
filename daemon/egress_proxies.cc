#include "daemon/egress_proxies.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <utility>

#include "daemon/egress/protocol.h"
#include "daemon/packet_channel.h"

namespace spore {
namespace {

// Above the numbers that the proxy has them under, so that no dup2 overwrites another's source.
constexpr int kAboveFixedFds = 16;

struct SpawnSettings {
  posix_spawn_file_actions_t files;
  posix_spawnattr_t attributes;
  SpawnSettings() {
    posix_spawn_file_actions_init(&files);
    posix_spawnattr_init(&attributes);
  }
  ~SpawnSettings() {
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&attributes);
  }
  SpawnSettings(const SpawnSettings&) = delete;
  SpawnSettings& operator=(const SpawnSettings&) = delete;
};

Result<> Prepare(SpawnSettings& settings, int listener, int control) {
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawn_file_actions_t* files = &settings.files;
  int failed = posix_spawnattr_setsigmask(&settings.attributes, &none);
  if (failed == 0) failed = posix_spawnattr_setsigdefault(&settings.attributes, &all);
  if (failed == 0) {
    failed = posix_spawnattr_setflags(
        &settings.attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSID);
  }
  if (failed == 0) failed = posix_spawn_file_actions_addopen(files, 0, "/dev/null", O_RDWR, 0);
  for (const int fd : {1, 2})
    if (failed == 0) failed = posix_spawn_file_actions_adddup2(files, 0, fd);
  if (failed == 0) failed = posix_spawn_file_actions_adddup2(files, listener, egress::kListenerFd);
  if (failed == 0) failed = posix_spawn_file_actions_adddup2(files, control, egress::kControlFd);
  if (failed == 0) failed = posix_spawn_file_actions_addclosefrom_np(files, egress::kControlFd + 1);
  if (failed != 0) return SysErrorOf(failed, "prepare the start of spore-egress");
  return {};
}

}  // namespace

EgressProxies::EgressProxies(EventLoop& loop, std::string program, uint32_t first_uid,
                             uint32_t last_uid)
    : loop_(loop), program_(std::move(program)), uids_(first_uid, last_uid) {}

EgressProxies::~EgressProxies() {
  for (auto& [pid, ending] : ending_) {
    ending.watch.reset();
    (void)TEMP_FAILURE_RETRY(waitpid(pid, nullptr, 0));
  }
}

Result<EgressProxies::Process> EgressProxies::Start(int listener) {
  SPORE_ASSIGN(SocketPair control, MakePacketPair());
  const UniqueFd theirs(fcntl(control.theirs.get(), F_DUPFD_CLOEXEC, kAboveFixedFds));
  const UniqueFd listens(fcntl(listener, F_DUPFD_CLOEXEC, kAboveFixedFds));
  if (!theirs || !listens) return SysError("duplicate a descriptor");
  SpawnSettings settings;
  SPORE_TRY(Prepare(settings, listens.get(), theirs.get()));
  const auto uid = uids_.Take();
  if (!uid) return MakeError(ErrorKind::kOverloaded, "all uids of proxies are in use");
  std::array<std::string, 3> words{program_, "--uid", std::to_string(*uid)};
  std::array<char*, 4> argv{words[0].data(), words[1].data(), words[2].data(), nullptr};
  char* environment[] = {nullptr};
  Process process{.uid = *uid};
  const int failed = posix_spawn(&process.pid, program_.c_str(), &settings.files,
                                 &settings.attributes, argv.data(), environment);
  if (failed != 0) {
    uids_.Return(*uid);
    return SysErrorOf(failed, "start", program_, "SPORE_LIBEXEC names its directory");
  }
  process.pidfd.Reset(static_cast<int>(syscall(SYS_pidfd_open, process.pid, 0)));
  if (!process.pidfd) {
    auto error = SysError("pidfd_open");
    kill(process.pid, SIGKILL);
    (void)TEMP_FAILURE_RETRY(waitpid(process.pid, nullptr, 0));
    uids_.Return(*uid);
    return error;
  }
  process.control = std::move(control.ours);
  return process;
}

void EgressProxies::End(Process process) {
  syscall(SYS_pidfd_send_signal, process.pidfd.get(), SIGKILL, nullptr, 0);
  process.control.Reset();
  const pid_t pid = process.pid;
  Ending& ending = ending_[pid];
  ending.process = std::move(process);
  ending.watch = loop_.WatchReadable(ending.process.pidfd.get(), [this, pid] { Reap(pid); });
}

void EgressProxies::Reap(pid_t pid) {
  const auto found = ending_.find(pid);
  if (found == ending_.end() || waitpid(pid, nullptr, WNOHANG) == 0) return;
  uids_.Return(found->second.process.uid);
  found->second.watch.reset();
  ending_.erase(found);
}

}  // namespace spore
