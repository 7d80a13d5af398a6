#include <net/if.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cstring>

#include "sandbox/steps/step.h"
#include "sandbox/sys/unique_fd.h"

namespace spore {

namespace {

constexpr short kUp = IFF_UP;

// The flags of `lo`, by netdevice(7). The kernel gives it its addresses, 127.0.0.1 and ::1, when it
// comes up.
StepResult ReadFlags(int socket, ifreq* request) {
  if (socket < 0) return StepFailed("make a socket to set lo");
  strncpy(request->ifr_name, "lo", sizeof request->ifr_name - 1);
  if (ioctl(socket, SIOCGIFFLAGS, request) < 0) return StepFailed("read the flags of lo");
  return StepOk();
}

}  // namespace

StepResult SetLoopback(bool up) {
  const UniqueFd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ifreq request{};
  if (StepResult r = ReadFlags(socket.get(), &request); !r.ok()) return r;
  request.ifr_flags =
      static_cast<short>(up ? request.ifr_flags | kUp : request.ifr_flags & ~IFF_UP);
  if (ioctl(socket.get(), SIOCSIFFLAGS, &request) < 0) return StepFailed("set the flags of lo");
  return StepOk();
}

StepResult IsLoopbackUp(bool* up) {
  const UniqueFd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ifreq request{};
  if (StepResult r = ReadFlags(socket.get(), &request); !r.ok()) return r;
  *up = (request.ifr_flags & kUp) != 0;
  return StepOk();
}

StepResult ListenOnLoopback(uint16_t port, int* listener_fd) {
  constexpr int kBacklog = 64;
  UniqueFd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket) return StepFailed("make a socket to listen on");
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) < 0)
    return StepFailed("bind a port of lo");
  if (listen(socket.get(), kBacklog) < 0) return StepFailed("listen on lo");
  *listener_fd = socket.Release();
  return StepOk();
}

}  // namespace spore
