// The daemon's end of one supervisor and of the zygote that it started: sends requests, routes what
// comes back. Zygotes of library sets are the supervisor's children too, each with its own channel.
//
// A link is one generation: it starts once, and when its zygote or supervisor ends it is not
// repaired but replaced (ZygoteImage). Sandboxes outlive the zygote that forked their runtimes,
// because they are the supervisor's children; nothing outlives the supervisor.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "daemon/config/config.h"
#include "daemon/loop/event_loop.h"
#include "daemon/loop/packet_channel.h"
#include "daemon/zygotes/zygote_channel.h"
#include "daemon/zygotes/zygote_spawn.h"
#include "sandbox/cgroup.h"
#include "sandbox/sys/result.h"
#include "sandbox/sys/unique_fd.h"
#include "zygote/protocol.h"

namespace spore {

// "it ended with status 1".
std::string DescribeExit(const wire::ProcessExited& exited);

class ZygoteLink {
 public:
  struct Handlers {
    std::function<void(const wire::ZygoteReady& ready)> on_ready;
    // The zygote cannot be forked any more (or never could): why. At most once; comes before
    // on_supervisor_gone.
    std::function<void(const std::string& reason)> on_zygote_gone;
    // The supervisor has ended and has been reaped: no sandbox of this link is alive. Last call.
    std::function<void()> on_supervisor_gone;
    // Of one that was started with a checkpoint: what came of SendCheckpoint. At most once.
    std::function<void(const wire::CheckpointDone& done)> on_checkpoint_done;
  };
  struct Made {
    wire::SandboxMade message;
    std::vector<UniqueFd> fds;
    std::optional<Error> lost;  // it is there, but its descriptors did not come: why
  };
  using Forked = ZygoteChannel::Forked;
  // How a process ended; nothing: its supervisor ended with it.
  using Exit = std::optional<wire::ProcessExited>;

  // Spawns the launcher and puts it into `cgroup`.
  static Result<std::unique_ptr<ZygoteLink>> Start(EventLoop& loop, const ImageManifest& image,
                                                   const ZygoteSpawnOptions& options, Cgroup cgroup,
                                                   Handlers handlers);
  ~ZygoteLink();  // kills what is left of supervisor and zygote
  ZygoteLink(const ZygoteLink&) = delete;
  ZygoteLink& operator=(const ZygoteLink&) = delete;

  // The callbacks run exactly once, with an error when the other side has gone.
  void MakeSandbox(const wire::MakeSandbox& request, std::span<const int> fds,
                   std::function<void(Result<Made>)> done);
  // By `zygote`, one of this supervisor's.
  void Fork(ZygoteChannel& zygote, const wire::Fork& request, std::span<const int> fds,
            ZygoteChannel::Done done);
  void ForkZygote(ZygoteChannel& zygote, const wire::ForkZygote& request, int socket,
                  ZygoteChannel::Done done);

  // Tells of the end of a child of the supervisor (pid as the supervisor sees it), also of one
  // that has been reported already but whose Forked message is only being handled now.
  void OnExit(int32_t pid, std::function<void(const Exit&)> handler);
  void ForgetExit(int32_t pid);

  // The order that one started with a checkpoint waits for. The descriptors are borrowed.
  Result<> SendCheckpoint(const wire::Checkpoint& order, std::span<const int> fds);

  // Closes the zygote's socket: it ends. Sandboxes stay.
  void EndZygote();
  // Closes the supervisor's socket: it kills everything it has and ends.
  void Close();

  ZygoteChannel& zygote() { return *zygote_; }
  // What the kernel charges to the supervisor and its zygotes.
  uint64_t memory_bytes() const;
  bool usable() const { return zygote_->usable(); }
  bool supervisor_alive() const { return supervisor_ != nullptr; }
  pid_t zygote_host_pid() const { return zygote_->host_pid(); }

 private:
  ZygoteLink(EventLoop& loop, std::string name, Cgroup cgroup, Handlers handlers);
  void Attach(ZygoteProcess process);
  void ReadMessages();
  void LauncherEnded();
  void SupervisorPacket(Packet& packet);
  void HandleMade(Packet& packet);
  ZygoteChannel::Done CountFork(ZygoteChannel::Done done);
  void HandleCheckpoint(const wire::CheckpointDone& done);
  void HandleExit(const wire::ProcessExited& exited);
  void ZygoteGone(const std::string& reason);
  void SupervisorGone();
  void Reap();

  EventLoop& loop_;
  std::string name_;
  Cgroup cgroup_;
  Handlers handlers_;
  pid_t process_group_ = 0;
  bool launcher_running_ = false;
  UniqueFd launcher_pidfd_;
  UniqueFd messages_fd_;
  std::string message_line_;
  std::string last_message_;  // the last line they wrote: the likeliest reason of a failure
  bool supervisor_gone_ = false;
  int reap_attempts_ = 0;
  bool unreapable_ = false;  // stuck in the kernel: nobody waits for it any more
  EventLoop::TimerId reap_timer_ = 0;
  std::map<uint64_t, std::function<void(Result<Made>)>> making_;
  size_t forking_ = 0;  // orders that are not answered yet
  std::map<int32_t, std::function<void(const Exit&)>> exit_handlers_;
  std::map<int32_t, wire::ProcessExited> early_exits_;  // of runtimes whose Forked is on its way
  std::shared_ptr<bool> alive_;
  std::unique_ptr<EventLoop::Watch> launcher_watch_;
  std::unique_ptr<EventLoop::Watch> messages_watch_;
  std::unique_ptr<PacketChannel> supervisor_;
  std::unique_ptr<ZygoteChannel> zygote_;
};

}  // namespace spore
