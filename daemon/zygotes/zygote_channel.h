// The daemon's end of one zygote's control socket: sends orders, routes the answers. Each zygote of
// a generation has one, the runtime's own and those of library sets.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>

#include "daemon/loop/event_loop.h"
#include "daemon/loop/packet_channel.h"
#include "sandbox/sys/result.h"
#include "sandbox/sys/unique_fd.h"
#include "zygote/protocol.h"

namespace spore {

// The text of a Failure, which another process filled in: it need not be terminated.
Error ToError(const wire::Failure& failure, std::string_view doing);
// Descriptors were sent that this process had no room for.
Error FdsLost(std::string_view whose);

class ZygoteChannel {
 public:
  struct Handlers {
    std::function<void(const wire::ZygoteReady& ready)> on_ready;
    // It cannot be forked any more (or never could): why. At most once.
    std::function<void(const std::string& reason)> on_gone;
  };
  struct Forked {
    wire::Forked message;
    UniqueFd pidfd;
  };
  using Done = std::function<void(Result<Forked>)>;

  // `name`: whose zygote it is, in errors: "image python".
  ZygoteChannel(EventLoop& loop, std::string name, UniqueFd socket, Handlers handlers);
  ~ZygoteChannel();
  ZygoteChannel(const ZygoteChannel&) = delete;
  ZygoteChannel& operator=(const ZygoteChannel&) = delete;

  // Before it is started: it looks for this when it has loaded everything.
  Result<> Send(const wire::Prepare& prepare) { return socket_->SendStruct(prepare); }
  // `done` runs exactly once, with an error when the zygote has gone.
  void Fork(const wire::Fork& request, std::span<const int> fds, Done done);
  // `socket`: the control socket of the copy.
  void ForkZygote(const wire::ForkZygote& request, int socket, Done done);

  // Closes the socket: the zygote ends. Its copies stay. Also what is called when it has ended.
  void End(const std::string& reason);

  // Of one that was restored, before it is ready.
  void SetPid(int32_t pid) { pid_ = pid; }
  bool ready() const { return ready_; }
  bool usable() const { return ready_ && !gone_; }
  bool explained() const { return explained_; }  // it said itself why it could not get ready
  int32_t pid() const { return pid_; }           // in the supervisor's pid namespace
  pid_t host_pid() const { return host_pid_; }

 private:
  template <typename Order>
  void Send(const Order& order, uint64_t id, std::span<const int> fds, Done done);
  void OnPacket(Packet& packet);
  void HandleReady(Packet& packet);
  void HandleForked(Packet& packet);
  void Closed();

  EventLoop& loop_;
  std::string name_;
  Handlers handlers_;
  bool ready_ = false;
  bool gone_ = false;
  bool explained_ = false;
  int32_t pid_ = 0;
  pid_t host_pid_ = 0;
  std::map<uint64_t, Done> forking_;
  std::shared_ptr<bool> alive_;
  std::unique_ptr<PacketChannel> socket_;
};

}  // namespace spore
