#include "tools/gateway/listener.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <optional>
#include <string_view>

#include "tools/gateway/text.h"

namespace spore::gateway {
namespace {

constexpr int kBacklog = 1024;

bool IsLoopback(const sockaddr* address) {
  if (address->sa_family == AF_INET) {
    const auto* v4 = reinterpret_cast<const sockaddr_in*>(address);
    return ntohl(v4->sin_addr.s_addr) >> 24 == 127;
  }
  if (address->sa_family != AF_INET6) return false;
  return IN6_IS_ADDR_LOOPBACK(&reinterpret_cast<const sockaddr_in6*>(address)->sin6_addr) != 0;
}

// What the socket is, told by itself.
client::Result<Listener> Describe(client::Fd fd) {
  sockaddr_storage address{};
  socklen_t length = sizeof address;
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  if (::getsockname(fd.get(), generic, &length) != 0)
    return client::LocalError("getsockname", errno);
  Listener listener;
  listener.local = address.ss_family == AF_UNIX;
  listener.loopback = IsLoopback(generic);
  if (listener.local) {
    listener.name = std::string("unix:") + reinterpret_cast<const sockaddr_un*>(&address)->sun_path;
  } else {
    std::array<char, NI_MAXHOST> host{};
    std::array<char, NI_MAXSERV> port{};
    ::getnameinfo(generic, length, host.data(), host.size(), port.data(), port.size(),
                  NI_NUMERICHOST | NI_NUMERICSERV);
    const bool v6 = address.ss_family == AF_INET6;
    listener.name = (v6 ? "[" : "") + std::string(host.data()) + (v6 ? "]:" : ":") + port.data();
  }
  listener.fd = std::move(fd);
  return listener;
}

client::Result<Listener> FromSystemd() {
  const int count = sd_listen_fds(/*unset_environment=*/1);
  if (count != 1) {
    return client::LocalError("listen: systemd passed " + std::to_string(count < 0 ? 0 : count) +
                              " sockets; expected one");
  }
  client::Fd fd(SD_LISTEN_FDS_START);
  if (sd_is_socket(fd.get(), AF_UNSPEC, SOCK_STREAM, 1) <= 0)
    return client::LocalError("listen: what systemd passed is not a listening stream socket");
  const int flags = ::fcntl(fd.get(), F_GETFL);
  if (flags < 0 || ::fcntl(fd.get(), F_SETFL, flags | O_NONBLOCK) != 0)
    return client::LocalError("fcntl", errno);
  return Describe(std::move(fd));
}

// A socket that nobody listens on any more is taken away; anything else is left alone.
client::Result<> RemoveStale(const std::string& path, const sockaddr_un& address) {
  struct stat status {};
  if (::lstat(path.c_str(), &status) != 0) {
    if (errno == ENOENT) return {};
    return client::LocalError("stat " + path, errno);
  }
  if (!S_ISSOCK(status.st_mode)) return client::LocalError(path + " exists and is not a socket");
  client::Fd probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const int result =
      ::connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
  if (result == 0 || errno == EAGAIN)
    return client::LocalError("another process answers on " + path);
  if (::unlink(path.c_str()) != 0 && errno != ENOENT)
    return client::LocalError("remove " + path, errno);
  return {};
}

client::Result<Listener> OpenUnix(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path[0] != '/' || path.size() >= sizeof address.sun_path)
    return client::LocalError("listen: \"unix:" + path +
                              "\"; expected an absolute path of at most 107 bytes");
  std::memcpy(address.sun_path, path.data(), path.size());
  if (auto removed = RemoveStale(path, address); !removed) return tl::unexpected(removed.error());
  client::Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) return client::LocalError("socket", errno);
  const mode_t mask = ::umask(0117);  // owner and group
  const int bound = ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
  const int bind_errno = errno;
  ::umask(mask);
  if (bound != 0) return client::LocalError("bind " + path, bind_errno);
  if (::listen(fd.get(), kBacklog) != 0) return client::LocalError("listen on " + path, errno);
  return Describe(std::move(fd));
}

client::Result<Listener> OpenTcp(const std::string& where) {
  const std::size_t colon = where.rfind(':');
  std::string host = colon == std::string::npos ? std::string() : where.substr(0, colon);
  if (host.size() > 2 && host.front() == '[' && host.back() == ']')
    host = host.substr(1, host.size() - 2);
  const std::string port = colon == std::string::npos ? std::string() : where.substr(colon + 1);
  const auto wrong = [&] {
    return client::LocalError("listen: \"" + where +
                              "\"; expected HOST:PORT with a numeric host, unix:PATH or systemd");
  };
  // getaddrinfo(3) takes 65536 for 0.
  if (host.empty() || !ParseNumber<uint16_t>(port)) return wrong();
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE;
  addrinfo* found = nullptr;
  if (::getaddrinfo(host.c_str(), port.c_str(), &hints, &found) != 0) return wrong();
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> address(found, ::freeaddrinfo);
  client::Fd fd(::socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) return client::LocalError("socket", errno);
  const int on = 1;
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (::bind(fd.get(), found->ai_addr, found->ai_addrlen) != 0)
    return client::LocalError("bind " + where, errno);
  if (::listen(fd.get(), kBacklog) != 0) return client::LocalError("listen on " + where, errno);
  return Describe(std::move(fd));
}

}  // namespace

client::Result<Listener> OpenListener(const std::string& where) {
  constexpr std::string_view kUnix = "unix:";
  if (where == "systemd") return FromSystemd();
  if (where.starts_with(kUnix)) return OpenUnix(where.substr(kUnix.size()));
  return OpenTcp(where);
}

}  // namespace spore::gateway
