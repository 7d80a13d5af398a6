// One zygote that is a copy of a zygote, and a child of the same supervisor: its process and its
// channel.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "daemon/loop/event_loop.h"
#include "daemon/zygotes/zygote_channel.h"
#include "daemon/zygotes/zygote_link.h"
#include "sandbox/sys/result.h"
#include "sandbox/sys/unique_fd.h"

namespace spore {

class CopiedZygote {
 public:
  struct Handlers {
    std::function<void(const wire::ZygoteReady& ready)> on_ready;
    // It cannot be forked any more (or never could): why. At most once.
    std::function<void(const std::string& reason)> on_gone;
    // After that: its process has been reaped. May destroy this. Last call.
    std::function<void()> on_ended;
  };

  // `name`: as ZygoteChannel's.
  CopiedZygote(EventLoop& loop, ZygoteLink& link, std::string name, Handlers handlers);
  ~CopiedZygote();
  CopiedZygote(const CopiedZygote&) = delete;
  CopiedZygote& operator=(const CopiedZygote&) = delete;

  // Has it copied from the zygote of `from`, which has not been forked into a sandbox, and import
  // `modules`. Failing, nothing has begun.
  Result<> Start(ZygoteChannel& from, const std::vector<std::string>& modules);
  // Kills it.
  void End(const std::string& reason);

  ZygoteChannel& channel() { return *channel_; }
  const ZygoteChannel& channel() const { return *channel_; }

 private:
  void Copied(Result<ZygoteChannel::Forked> forked);
  void Gone(const std::string& reason);
  void TellIfEnded();

  EventLoop& loop_;
  ZygoteLink& link_;
  std::string name_;
  Handlers handlers_;
  bool asked_ = false;  // for the copy, and not answered
  bool lives_ = false;  // its process, as far as known
  bool gone_ = false;
  UniqueFd pidfd_;
  std::unique_ptr<ZygoteChannel> channel_;
  std::shared_ptr<bool> alive_;
};

}  // namespace spore
