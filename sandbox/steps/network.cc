#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cstring>

#include "sandbox/steps/step.h"
#include "sandbox/sys/unique_fd.h"

namespace spore {

// By netdevice(7): the kernel gives `lo` its addresses, 127.0.0.1 and ::1, when it comes up.
StepResult SetLoopback(bool up) {
  const UniqueFd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!socket) return StepFailed("make a socket to set lo");
  ifreq request{};
  strncpy(request.ifr_name, "lo", sizeof request.ifr_name - 1);
  if (ioctl(socket.get(), SIOCGIFFLAGS, &request) < 0) return StepFailed("read the flags of lo");
  constexpr short kUp = IFF_UP;
  request.ifr_flags =
      static_cast<short>(up ? request.ifr_flags | kUp : request.ifr_flags & ~IFF_UP);
  if (ioctl(socket.get(), SIOCSIFFLAGS, &request) < 0) return StepFailed("set the flags of lo");
  return StepOk();
}

}  // namespace spore
