#include "daemon/zygotes/channel_ends.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <utility>

namespace spore {
namespace {

struct Networks {
  UniqueFd own, empty;
};

Result<UniqueFd> OpenNetwork() {
  constexpr const char* kPath = "/proc/thread-self/ns/net";
  UniqueFd fd(open(kPath, O_RDONLY | O_CLOEXEC));
  if (!fd) return SysError("open", kPath);
  return fd;
}

Result<> Enter(const UniqueFd& network) {
  if (setns(network.get(), CLONE_NEWNET) < 0) return SysError("setns to a network namespace");
  return {};
}

Result<Networks> MakeNetworks() {
  Networks networks;
  SPORE_ASSIGN(networks.own, OpenNetwork());
  if (unshare(CLONE_NEWNET) < 0) return SysError("unshare CLONE_NEWNET");
  auto empty = OpenNetwork();
  SPORE_TRY(Enter(networks.own));
  SPORE_ASSIGN(networks.empty, std::move(empty));
  return networks;
}

Result<ChannelEnds> MakeHere() {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
    return SysError("make a socket pair");
  ChannelEnds channel{UniqueFd(ends[0]), UniqueFd(ends[1])};
  // Only a family: the kernel chooses an abstract name.
  const sockaddr_un any{.sun_family = AF_UNIX, .sun_path = {}};
  if (bind(channel.theirs.get(), reinterpret_cast<const sockaddr*>(&any), sizeof any.sun_family) <
      0)
    return SysError("name an instance's socket");
  return channel;
}

}  // namespace

Result<ChannelEnds> MakeInstanceChannel() {
  static Result<Networks> networks = MakeNetworks();
  if (!networks) return tl::unexpected(networks.error());
  SPORE_TRY(Enter(networks->empty));
  Result<ChannelEnds> channel = MakeHere();
  SPORE_TRY(Enter(networks->own));
  return channel;
}

}  // namespace spore
