// One run of `spore-zygote branch`, which copies a session from outside (zygote/branch/branch.h).
// It is started ahead of need: an exec takes longer than most of what it does.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "daemon/loop/event_loop.h"
#include "daemon/sessions/session_worker.h"
#include "sandbox/sys/result.h"
#include "zygote/branch_protocol.h"

namespace spore {

class BranchWorker {
 public:
  struct Target {
    uid_t uid = 0;
    std::vector<std::string> cgroups;
    int agent_pidfd = -1;  // borrowed during Begin
  };
  struct Order {
    int source_pidfd = -1;  // of its agent; borrowed during Begin
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
  // It waits. `on_lost`: it has ended, or is about to, before it was given something to do; it may
  // be destroyed then.
  static Result<std::unique_ptr<BranchWorker>> Start(EventLoop& loop,
                                                     std::function<void()> on_lost);
  BranchWorker(const BranchWorker&) = delete;
  BranchWorker& operator=(const BranchWorker&) = delete;

  // Once. An error: it has ended.
  Result<> Begin(const Order& order, Handlers handlers);
  // The targets' interpreters have started.
  void TellInterpreters(std::span<const int32_t> numbers);
  // In the middle of a call that it has the source make, once that is over: the source would end
  // with it.
  void Terminate() { worker_->Terminate(); }

 private:
  explicit BranchWorker(std::function<void()> on_lost) : on_lost_(std::move(on_lost)) {}
  void OnPacket(const Packet& packet);
  void OnEnded();
  void Tell(Result<wire::BranchDone> done);

  std::function<void()> on_lost_;
  Handlers handlers_;
  bool begun_ = false, told_ = false;
  std::unique_ptr<SessionWorker> worker_;
};

}  // namespace spore
