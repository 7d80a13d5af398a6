// One run of `spore-zygote branch`, which copies a session from outside (zygote/branch/branch.h):
// what that does blocks, and holds processes by ptrace(2), so it is a process of its own.
#pragma once

#include <sys/types.h>

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "daemon/event_loop.h"
#include "daemon/packet_channel.h"
#include "sandbox/sys/result.h"
#include "zygote/branch_protocol.h"

namespace spore {

class BranchWorker {
 public:
  struct Target {
    uid_t uid = 0;
    std::vector<std::string> cgroups;
    int agent_pidfd = -1;  // borrowed during Start
  };
  struct Order {
    int source_pidfd = -1;  // of its agent; borrowed during Start
    int32_t interpreter = 0;
    bool running = false;
    bool alone = false;
    std::string cgroup;
    std::vector<Target> targets;
  };
  struct Handlers {
    std::function<void()> on_ready;  // the targets' interpreters may start
    // Once, also when it ends without a word.
    std::function<void(Result<wire::BranchDone>)> on_done;
    std::function<void()> on_ended;  // it has been reaped: the last call; it may be destroyed then
  };
  static Result<std::unique_ptr<BranchWorker>> Start(EventLoop& loop, const Order& order,
                                                     Handlers handlers);
  ~BranchWorker();  // kills it, and waits for it
  BranchWorker(const BranchWorker&) = delete;
  BranchWorker& operator=(const BranchWorker&) = delete;

  // The targets' interpreters have started.
  void TellInterpreters(std::span<const int32_t> numbers);
  void Kill();

 private:
  BranchWorker(EventLoop& loop, Handlers handlers) : loop_(loop), handlers_(std::move(handlers)) {}
  void OnPacket(const Packet& packet);
  void OnClosed();
  void OnEnded();
  void TellEndSoon();
  void Tell(Result<wire::BranchDone> done);

  EventLoop& loop_;
  Handlers handlers_;
  bool told_ = false;
  bool closed_ = false;
  EventLoop::TimerId limit_timer_ = 0;
  pid_t pid_ = 0;
  UniqueFd pidfd_;
  std::unique_ptr<PacketChannel> channel_;
  std::unique_ptr<EventLoop::Watch> end_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace spore
