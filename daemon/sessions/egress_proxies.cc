#include "daemon/sessions/egress_proxies.h"

#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "daemon/common/start_program.h"
#include "daemon/egress/protocol.h"
#include "daemon/loop/packet_channel.h"

namespace spore {

static_assert(egress::kListenerFd == 3 && egress::kControlFd == 4);

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
  static_assert(egress::kListenerFd == 3 && egress::kControlFd == 4);
  SPORE_ASSIGN(SocketPair control, MakePacketPair());
  const auto uid = uids_.Take();
  if (!uid) return MakeError(ErrorKind::kOverloaded, "all uids of proxies are in use");
  auto started = StartProgram({.arguments = {program_, "--uid", std::to_string(*uid)},
                               .environment = {},
                               .passed = {listener, control.theirs.get()}});
  if (!started) {
    uids_.Return(*uid);
    return tl::unexpected(std::move(started).error());
  }
  return Process{started->pid, *uid, std::move(started->pidfd), std::move(control.ours)};
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
