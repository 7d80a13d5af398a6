#include "tools/gateway/http_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <utility>
#include <vector>

namespace spore::gateway {
namespace {

constexpr int kAcceptedAtOnce = 64;

std::string AddressOf(const sockaddr_storage& address) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (address.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(address);
    ::inet_ntop(AF_INET, &v4.sin_addr, text.data(), text.size());
  } else if (address.ss_family == AF_INET6) {
    const auto& v6 = reinterpret_cast<const sockaddr_in6&>(address);
    ::inet_ntop(AF_INET6, &v6.sin6_addr, text.data(), text.size());
  }
  return text.data();
}

}  // namespace

HttpServer::HttpServer(EventLoop& loop, HttpHandler& handler, const HttpLimits& limits)
    : loop_(loop),
      shared_(std::make_shared<HttpConnection::Shared>(
          HttpConnection::Shared{loop, handler, limits, {}, false})) {}

HttpServer::~HttpServer() {
  if (watch_ != 0) loop_.Unwatch(watch_);
  for (auto& [id, connection] : std::exchange(connections_, {})) connection->Close();
}

client::Result<> HttpServer::Listen(client::Fd listening) {
  listening_ = std::move(listening);
  auto watch = loop_.Watch(listening_.get(), EPOLLIN, [this](uint32_t) { Accept(); });
  if (!watch) return tl::unexpected(watch.error());
  watch_ = *watch;
  return {};
}

void HttpServer::Accept() {
  for (int i = 0; i < kAcceptedAtOnce && AcceptOne(); ++i) {
  }
}

bool HttpServer::AcceptOne() {
  sockaddr_storage address{};
  socklen_t length = sizeof address;
  client::Fd socket(::accept4(listening_.get(), reinterpret_cast<sockaddr*>(&address), &length,
                              SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!socket.valid()) {
    if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
      // The listening socket would stay ready: look again at the next tick.
      paused_ = loop_.Change(watch_, 0).has_value();
      loop_.Wake();
    }
    return errno == ECONNABORTED || errno == EINTR;
  }
  if (!MakeRoom()) {
    static constexpr std::string_view kFull =
        "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\n"
        "Connection: close\r\n\r\n";
    ++shared_->counters.refused_connections;
    // Whether or not it can be told; over TLS it cannot.
    if (!tls_) (void)::send(socket.get(), kFull.data(), kFull.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    return true;
  }
  if (address.ss_family != AF_UNIX) {
    const int on = 1;
    ::setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  }
  auto transport =
      tls_ ? tls_->Accept(socket.get()) : std::make_unique<PlainTransport>(socket.get());
  if (!transport) return true;
  const uint64_t id = next_++;
  auto connection =
      std::make_shared<HttpConnection>(shared_, std::move(socket), std::move(transport),
                                       AddressOf(address), [this, id] { Closed(id); });
  if (!connection->Start()) return true;
  connections_.emplace(id, std::move(connection));
  loop_.Wake();
  return true;
}

// When all places are taken the client that has waited longest without asking for anything goes.
bool HttpServer::MakeRoom() {
  if (connections_.size() < shared_->limits.max_connections) return true;
  HttpConnection* oldest = nullptr;
  for (const auto& [id, connection] : connections_) {
    if (!connection->idle()) continue;
    if (oldest == nullptr || connection->deadline_ms() < oldest->deadline_ms())
      oldest = connection.get();
  }
  if (oldest == nullptr) return false;
  oldest->Close();
  return true;
}

void HttpServer::Closed(uint64_t id) {
  auto gone = connections_.extract(id);
  // The connection is the caller: it goes when it has returned.
  if (!gone.empty()) loop_.Post([connection = std::move(gone.mapped())] {});
  if (drained_ && connections_.empty()) loop_.Post(std::exchange(drained_, nullptr));
}

void HttpServer::Drain(std::function<void()> done) {
  shared_->draining = true;
  if (watch_ != 0) loop_.Unwatch(std::exchange(watch_, 0));
  listening_.Reset();
  std::vector<std::shared_ptr<HttpConnection>> idle;
  for (const auto& [id, connection] : connections_) {
    if (connection->idle()) idle.push_back(connection);
  }
  drained_ = std::move(done);
  for (const auto& connection : idle) connection->Close();
  if (drained_ && connections_.empty()) loop_.Post(std::exchange(drained_, nullptr));
}

bool HttpServer::Tick() {
  if (std::exchange(paused_, false) && watch_ != 0) {
    paused_ = !loop_.Change(watch_, EPOLLIN).has_value();
  }
  const int64_t now = NowMs();
  std::vector<std::shared_ptr<HttpConnection>> late;
  for (const auto& [id, connection] : connections_) {
    if (now >= connection->deadline_ms()) late.push_back(connection);
  }
  for (const auto& connection : late) connection->CheckDeadline(now);
  return paused_ || !connections_.empty();
}

}  // namespace spore::gateway
