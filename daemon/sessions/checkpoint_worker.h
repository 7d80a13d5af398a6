// One run of `spore-zygote checkpoint` or `spore-zygote restore` (zygote/checkpoint_protocol.h).
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "daemon/loop/event_loop.h"
#include "daemon/sessions/session_worker.h"
#include "sandbox/sys/result.h"
#include "sandbox/sys/unique_fd.h"
#include "zygote/checkpoint_protocol.h"

namespace spore {

class CheckpointWorker {
 public:
  // Descriptors are borrowed during the start.
  struct Order {
    std::vector<std::string> words;  // zygote/checkpoint/checkpoint_options.h
    int process = -1;                // a pidfd: of the agent; of the sandbox's init to restore
    int mount = -1;
    int folder = -1;
    int criu = -1;
  };
  struct Dumped {
    std::optional<Error> error;
    wire::CheckpointSessionDone done;
  };
  struct Restored {
    wire::RestoreSessionDone done;
    UniqueFd agent;  // a pidfd
    UniqueFd door;   // agent_door.h
  };
  // Each is called once, also when it ends without a word; `on_ended` then, when it may be
  // destroyed.
  using OnDumped = std::function<void(Dumped)>;
  using OnRestored = std::function<void(Result<Restored>)>;
  static Result<std::unique_ptr<CheckpointWorker>> Checkpoint(EventLoop& loop, const Order& order,
                                                              OnDumped on_dumped,
                                                              std::function<void()> on_ended);
  static Result<std::unique_ptr<CheckpointWorker>> Restore(EventLoop& loop, const Order& order,
                                                           OnRestored on_restored,
                                                           std::function<void()> on_ended);
  CheckpointWorker(const CheckpointWorker&) = delete;
  CheckpointWorker& operator=(const CheckpointWorker&) = delete;

  void Kill() { worker_->Kill(); }

 private:
  CheckpointWorker() = default;
  static Result<std::unique_ptr<CheckpointWorker>> Start(EventLoop& loop, const char* what,
                                                         const Order& order,
                                                         std::function<void(Packet&)> on_packet,
                                                         std::function<void(Error)> on_failed,
                                                         std::function<void()> on_ended);
  std::unique_ptr<SessionWorker> worker_;
};

}  // namespace spore
