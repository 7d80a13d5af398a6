// The processes of the proxies (daemon/egress/): started, each under a uid of its own, and reaped.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "daemon/common/uid_allocator.h"
#include "daemon/loop/event_loop.h"
#include "sandbox/sys/result.h"
#include "sandbox/sys/unique_fd.h"

namespace spore {

class EgressProxies {
 public:
  struct Process {
    pid_t pid = 0;
    uint32_t uid = 0;
    UniqueFd pidfd;
    UniqueFd control;  // non-blocking; the proxy waits for its settings there
  };
  // Uids of hosts, [first_uid, last_uid].
  EgressProxies(EventLoop& loop, std::string program, uint32_t first_uid, uint32_t last_uid);
  ~EgressProxies();  // waits for those that are ending
  EgressProxies(const EgressProxies&) = delete;
  EgressProxies& operator=(const EgressProxies&) = delete;

  // `listener` is borrowed.
  Result<Process> Start(int listener);
  // Kills it if it is still there; it is reaped when it has ended.
  void End(Process process);

 private:
  struct Ending {
    Process process;
    std::unique_ptr<EventLoop::Watch> watch;
  };
  void Reap(pid_t pid);

  EventLoop& loop_;
  std::string program_;
  UidAllocator uids_;
  std::map<pid_t, Ending> ending_;
};

}  // namespace spore
