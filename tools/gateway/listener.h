// The socket on which the gateway waits for clients.
#pragma once

#include <string>

#include "tools/client/error.h"
#include "tools/client/fd.h"

namespace spore::gateway {

struct Listener {
  client::Fd fd;
  bool local = false;     // a UNIX socket
  bool loopback = false;  // or an address that only this host reaches
  std::string name;       // for people: "127.0.0.1:8080"
};

// `where`: HOST:PORT with a numeric host ("[::1]:8080" too), unix:PATH, or systemd (a descriptor
// that was passed, sd_listen_fds(3)).
client::Result<Listener> OpenListener(const std::string& where);

}  // namespace spore::gateway
