#include "zygote/hosts/provided/http_server.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace spore {
namespace {

// Beyond these, others wait in the listener's queue.
constexpr size_t kMaxConnections = 128;
constexpr size_t kReadBytes = 256 * 1024;

const char* ReasonOf(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 202:
      return "Accepted";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 413:
      return "Content Too Large";
    case 431:
      return "Request Header Fields Too Large";
    case 501:
      return "Not Implemented";
    case 505:
      return "HTTP Version Not Supported";
    default:
      return "Bad Request";
  }
}

bool HasEnded(int fd) {
  pollfd end{fd, POLLRDHUP, 0};
  return poll(&end, 1, 0) > 0;
}

}  // namespace

struct HttpServer::Connection {
  Connection(ConnectionId own_id, UniqueFd socket, size_t max_body)
      : id(own_id), fd(std::move(socket)), parser(max_body) {}

  ConnectionId id;
  UniqueFd fd;
  HttpParser parser;
  std::string arrived;         // beyond the request in progress
  bool in_hand = false;        // a whole request waits for its answer
  bool last = false;           // closes when `outgoing` is written
  uint32_t watched = EPOLLIN;  // epoll's events
  std::string outgoing;
  size_t written = 0;
};

HttpServer::HttpServer(int epoll, UniqueFd listener, size_t max_body, Handlers handlers)
    : epoll_(epoll),
      listener_(std::move(listener)),
      max_body_(max_body),
      handlers_(std::move(handlers)) {}

HttpServer::~HttpServer() = default;

Result<std::unique_ptr<HttpServer>> HttpServer::Listen(int epoll, uint16_t port, size_t max_body,
                                                       Handlers handlers) {
  UniqueFd listener(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!listener) return SysError("make a socket for the Runtime API");
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const auto* generic = reinterpret_cast<const sockaddr*>(&address);
  if (bind(listener.get(), generic, sizeof address) < 0) return SysError("bind the Runtime API");
  if (listen(listener.get(), SOMAXCONN) < 0) return SysError("listen for the Runtime API");
  std::unique_ptr<HttpServer> server(
      new HttpServer(epoll, std::move(listener), max_body, std::move(handlers)));
  server->WatchListener(true);
  return server;
}

void HttpServer::WatchListener(bool watch) {
  if (watch == std::exchange(listening_, watch)) return;
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = kListenerTag;
  (void)epoll_ctl(epoll_, watch ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, listener_.get(), &event);
}

void HttpServer::Watch(Connection& connection, uint32_t events) const {
  if (events == std::exchange(connection.watched, events)) return;
  epoll_event event{};
  event.events = events;
  event.data.u64 = connection.id;
  (void)epoll_ctl(epoll_, EPOLL_CTL_MOD, connection.fd.get(), &event);
}

void HttpServer::OnEvent(uint64_t tag, uint32_t events) {
  if (tag == kListenerTag) return Accept();
  const auto found = connections_.find(tag);
  if (found == connections_.end()) return;
  Connection& connection = *found->second;
  if ((events & (EPOLLERR | EPOLLHUP)) != 0) return Close(tag, (events & EPOLLERR) != 0);
  if (!connection.outgoing.empty()) {
    if ((events & EPOLLOUT) != 0 && Write(connection)) Take(connection);
    return;
  }
  if (connection.in_hand) {
    if ((events & EPOLLRDHUP) != 0) Close(tag, false);
    return;
  }
  Read(connection);
}

void HttpServer::Accept() {
  while (connections_.size() < kMaxConnections) {
    UniqueFd fd(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!fd) {
      // Out of descriptors: until one of ours is closed.
      if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) WatchListener(false);
      return;
    }
    const int on = 1;
    (void)setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    const ConnectionId id = next_id_++;
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u64 = id;
    if (epoll_ctl(epoll_, EPOLL_CTL_ADD, fd.get(), &event) < 0) continue;
    connections_[id] = std::make_unique<Connection>(id, std::move(fd), max_body_);
  }
  WatchListener(false);
}

void HttpServer::Read(Connection& connection) {
  static char buffer[kReadBytes];
  const ssize_t got = recv(connection.fd.get(), buffer, sizeof buffer, 0);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (got <= 0) return Close(connection.id, got < 0);
  if (connection.last) return;  // answered, and nothing more will be
  connection.arrived.append(buffer, static_cast<size_t>(got));
  Take(connection);
}

bool HttpServer::Take(Connection& connection) {
  const ConnectionId id = connection.id;
  taking_ = id;
  while (!connection.in_hand && connection.outgoing.empty() && !connection.arrived.empty()) {
    std::string_view data = connection.arrived;
    const HttpParser::Status status = connection.parser.Feed(data);
    connection.arrived.erase(0, connection.arrived.size() - data.size());
    if (status == HttpParser::Status::kMore) break;
    HttpRequest& request = connection.parser.request();
    if (status == HttpParser::Status::kBad) {
      Queue(connection,
            RefuseRequest(connection.parser.problem_status(), "BadRequest",
                          connection.parser.problem()),
            false);
      return Write(connection);
    }
    if (status == HttpParser::Status::kContinue && !request.too_large) {
      constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
      // Into a socket whose buffer is empty.
      (void)send(connection.fd.get(), kContinue.data(), kContinue.size(), MSG_NOSIGNAL);
      continue;
    }
    // The body of one that waits to send it is not asked for: it would be too large.
    if (status == HttpParser::Status::kContinue) request.keep_alive = false;
    connection.in_hand = true;
    handlers_.on_request(id, request);
    if (!connections_.contains(id)) return false;
    // What it sends meanwhile can wait.
    if (connection.in_hand) Watch(connection, EPOLLRDHUP);
  }
  taking_ = 0;
  return true;
}

void HttpServer::Reply(ConnectionId id, const HttpReply& reply) {
  const auto found = connections_.find(id);
  if (found == connections_.end()) return;
  Connection& connection = *found->second;
  Queue(connection, reply, connection.parser.request().keep_alive);
  connection.in_hand = false;
  connection.parser.Reset();
  if (Write(connection) && taking_ != id) Take(connection);
}

void HttpServer::Queue(Connection& connection, const HttpReply& reply, bool keep_alive) const {
  std::string& out = connection.outgoing;
  out = "HTTP/1.1 " + std::to_string(reply.status) + " " + ReasonOf(reply.status) + "\r\n";
  for (const auto& [name, value] : reply.fields) out += name + ": " + value + "\r\n";
  out += "Content-Length: " + std::to_string(reply.body.size()) + "\r\n";
  if (!keep_alive) out += "Connection: close\r\n";
  out += "\r\n";
  out += reply.body;
  connection.last = !keep_alive;
}

// False: the connection is gone.
bool HttpServer::Write(Connection& connection) {
  while (connection.written < connection.outgoing.size()) {
    const ssize_t sent = send(connection.fd.get(), connection.outgoing.data() + connection.written,
                              connection.outgoing.size() - connection.written, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0 && errno == EAGAIN) {
      Watch(connection, EPOLLOUT);
      return true;
    }
    if (sent < 0) {
      Close(connection.id, true);
      return false;
    }
    connection.written += static_cast<size_t>(sent);
  }
  connection.outgoing.clear();
  connection.written = 0;
  if (connection.last) {
    // Not at once: what the client has sent and nobody has read would make it a reset, which may
    // overtake the answer (RFC 9112, 9.6).
    (void)shutdown(connection.fd.get(), SHUT_WR);
  }
  Watch(connection, EPOLLIN);
  return true;
}

bool HttpServer::IsOpen(ConnectionId id) const {
  const auto found = connections_.find(id);
  return found != connections_.end() && !HasEnded(found->second->fd.get());
}

// A socket that is closed before all of it was read answers with a reset (RFC 9293, 3.10.4). It is
// asked by poll(2): after an end of file recv(2) does not tell of one.
bool HttpServer::IsLost(ConnectionId id) const {
  const auto found = connections_.find(id);
  if (found == connections_.end()) return false;
  if (!found->second->outgoing.empty()) return true;
  pollfd reset{found->second->fd.get(), 0, 0};
  return poll(&reset, 1, 0) > 0 && (reset.revents & POLLERR) != 0;
}

void HttpServer::Close(ConnectionId id, bool reset) {
  connections_.erase(id);
  WatchListener(true);
  handlers_.on_closed(id, reset);
}

}  // namespace spore
