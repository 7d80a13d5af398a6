#include "daemon/egress/connection.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

namespace spore::egress {
namespace {

constexpr uint64_t kHeadMs = 10'000;      // for the whole request
constexpr uint64_t kConnectMs = 10'000;   // for finding and connecting to the server
constexpr uint64_t kAttemptMs = 4000;     // of one of its addresses, if there are more
constexpr uint64_t kIdleMs = 300'000;     // without a byte either way
constexpr uint64_t kReplyMs = 5000;       // for the last words
constexpr size_t kFlowBytes = 64 * 1024;  // on their way, each direction
constexpr size_t kPiece = 16 * 1024;

int SocketError(int fd) {
  int error = 0;
  socklen_t size = sizeof error;
  if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0) return errno;
  return error;
}

// strerror(3) looks at files for a language.
std::string WhyNot(int error) {
  switch (error) {
    case ECONNREFUSED:
      return "connection refused by the server";
    case ENETUNREACH:
    case EHOSTUNREACH:
    case EADDRNOTAVAIL:
      return "no route to the server";
    case ETIMEDOUT:
      return "the server does not answer";
    case ECONNRESET:
      return "connection reset by the server";
    default:
      return "cannot connect (errno " + std::to_string(error) + ")";
  }
}

}  // namespace

// The kernel takes as the source of what it sends to itself the address that it sends to. No packet
// leaves for this: connecting a datagram socket only looks up the route.
bool IsOwnAddress(const Address& address) {
  sockaddr_storage to, from{};
  const socklen_t length = ToSockaddr({address, 9}, &to);
  const UniqueFd probe(socket(to.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!probe || connect(probe.get(), reinterpret_cast<sockaddr*>(&to), length) != 0) return false;
  socklen_t size = sizeof from;
  if (getsockname(probe.get(), reinterpret_cast<sockaddr*>(&from), &size) != 0) return false;
  return FromSockaddr(from) == address;
}

Connection::Connection(Surroundings& surroundings, UniqueFd client)
    : all_(surroundings), client_(std::move(client)), deadline_ms_(NowMs() + kHeadMs) {
  if (!all_.poller.Add(client_.get(), EPOLLIN, [this](uint32_t) { OnClient(); }))
    state_ = State::kOver;
}

Connection::~Connection() {
  End();
}

void Connection::End() {
  if (lookup_ != 0) all_.resolver.Cancel(std::exchange(lookup_, 0));
  DropServer();
  if (client_) all_.poller.Remove(client_.get());
  client_.Reset();
  if (std::exchange(counted_, false)) --all_.counters.open;
  out_.data.clear();
  in_.data.clear();
  state_ = State::kOver;
}

void Connection::DropServer() {
  if (server_) all_.poller.Remove(server_.get());
  server_.Reset();
}

void Connection::Tick(uint64_t now_ms) {
  if (state_ == State::kConnecting && now_ms >= attempt_until_ms_ && now_ms < deadline_ms_) {
    last_problem_ = WhyNot(ETIMEDOUT);
    last_status_ = 504;
    return ConnectNext();
  }
  if (now_ms < deadline_ms_ || state_ == State::kOver) return;
  if (state_ == State::kHead && reader_.request().speech != Request::Speech::kUnknown)
    return Fail(408, "the request did not come within 10 s", &Counters::failed);
  if (state_ == State::kResolving || state_ == State::kConnecting)
    return Fail(504, "no connection within 10 s", &Counters::failed);
  End();
}

void Connection::OnClient() {
  if (state_ == State::kHead) return ReadHead();
  if (state_ == State::kTunnel || state_ == State::kReplying) Move();
}

void Connection::ReadHead() {
  std::array<char, kPiece> piece;
  const ssize_t got = recv(client_.get(), piece.data(), piece.size(), 0);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (got <= 0) return End();
  out_.data.append(piece.data(), static_cast<size_t>(got));
  for (;;) {
    switch (reader_.Read(&out_.data)) {
      case RequestReader::State::kMore:
        return;
      case RequestReader::State::kReply:
        in_.data = reader_.reply();
        if (!Write(client_.get(), &in_) || !in_.data.empty()) return End();
        continue;
      case RequestReader::State::kDone:
        return Decide();
      case RequestReader::State::kRefused:
        ++all_.counters.failed;
        all_.log("a request that is none: " + reader_.problem());
        return Reply(reader_.reply());
    }
  }
}

void Connection::Decide() {
  const Request& request = reader_.request();
  all_.poller.Change(client_.get(), 0);
  if (all_.counters.open >= kMaxConnections) {
    return Fail(
        503, std::to_string(kMaxConnections) + " connections are open already, as many as may be",
        &Counters::failed);
  }
  counted_ = true;
  ++all_.counters.open;
  deadline_ms_ = NowMs() + kConnectMs;
  if (request.address) return Admit({*request.address}, false);
  if (!AllowsName(all_.rules, request.name, request.port))
    return Fail(403, "no rule lists it", &Counters::refused);
  state_ = State::kResolving;
  lookup_ = all_.resolver.Resolve(request.name, [this](const Resolved& resolved) {
    lookup_ = 0;
    NameFound(resolved);
  });
}

void Connection::NameFound(const Resolved& resolved) {
  if (!resolved.problem.empty()) return Fail(502, resolved.problem, &Counters::failed);
  Admit(resolved.addresses, true);
}

// What may be connected to of these; the name is not looked up a second time.
void Connection::Admit(const std::vector<Address>& addresses, bool listed_name) {
  std::string why;
  for (const Address& address : addresses) {
    const Endpoint to{address, reader_.request().port};
    std::string refused = WhyRefused(all_.rules, to, listed_name, IsOwnAddress(address));
    if (refused.empty()) {
      candidates_.push_back(to);
    } else if (why.empty()) {
      why = std::move(refused);
    }
  }
  if (candidates_.empty()) return Fail(403, why, &Counters::refused);
  state_ = State::kConnecting;
  ConnectNext();
}

void Connection::ConnectNext() {
  DropServer();
  while (!candidates_.empty()) {
    const Endpoint to = candidates_.front();
    candidates_.pop_front();
    sockaddr_storage address;
    const socklen_t length = ToSockaddr(to, &address);
    server_.Reset(socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    attempt_until_ms_ = candidates_.empty() ? deadline_ms_ : NowMs() + kAttemptMs;
    if (server_ &&
        (connect(server_.get(), reinterpret_cast<sockaddr*>(&address), length) == 0 ||
         errno == EINPROGRESS) &&
        all_.poller.Add(server_.get(), EPOLLOUT, [this](uint32_t) { OnServer(); }))
      return;
    last_problem_ = WhyNot(errno);
    server_.Reset();
  }
  Fail(last_status_, last_problem_, &Counters::failed);
}

void Connection::OnServer() {
  if (state_ == State::kTunnel) return Move();
  if (state_ != State::kConnecting) return;
  if (const int error = SocketError(server_.get()); error != 0) {
    last_problem_ = WhyNot(error);
    last_status_ = error == ETIMEDOUT ? 504 : 502;
    return ConnectNext();
  }
  Connected();
}

void Connection::Connected() {
  const int on = 1;
  for (const int fd : {client_.get(), server_.get()})
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  ++all_.counters.connections;
  const Request& request = reader_.request();
  if (request.connect) {
    in_.data = SuccessReply(request.speech);
  } else {
    out_.data.insert(0, request.head);
  }
  all_.counters.sent_bytes += out_.data.size();
  state_ = State::kTunnel;
  Move();
}

void Connection::Fail(int status, const std::string& what, uint64_t Counters::*counter) {
  ++(all_.counters.*counter);
  const Request& request = reader_.request();
  const std::string place = request.port == 0 ? "" : request.Place() + ": ";
  all_.log((counter == &Counters::refused ? "refused " : "failed ") + place + what);
  Reply(FailureReply(request.speech, status, place + what));
}

// The last that the client hears. What it still sends is read and dropped: unread it would make the
// kernel reset the connection, and the words be lost.
void Connection::Reply(const std::string& reply) {
  DropServer();
  if (lookup_ != 0) all_.resolver.Cancel(std::exchange(lookup_, 0));
  if (std::exchange(counted_, false)) --all_.counters.open;
  out_.data.clear();
  in_.data = reply;
  in_.ended = true;
  state_ = State::kReplying;
  deadline_ms_ = NowMs() + kReplyMs;
  Move();
}

// False: the connection is broken.
bool Connection::Read(int fd, Flow* flow, uint64_t* count) {
  while (!flow->ended && flow->data.size() < kFlowBytes) {
    std::array<char, kPiece> piece;
    const size_t room = std::min(piece.size(), kFlowBytes - flow->data.size());
    const ssize_t got = recv(fd, piece.data(), room, 0);
    if (got < 0) return errno == EAGAIN || errno == EINTR;
    if (got == 0) {
      flow->ended = true;
      return true;
    }
    flow->data.append(piece.data(), static_cast<size_t>(got));
    if (count != nullptr) *count += static_cast<uint64_t>(got);
    deadline_ms_ = NowMs() + kIdleMs;
    if (static_cast<size_t>(got) < room) return true;
  }
  return true;
}

bool Connection::Write(int fd, Flow* flow) {
  size_t done = 0;
  while (done < flow->data.size()) {
    const ssize_t sent = send(fd, flow->data.data() + done, flow->data.size() - done, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0 && errno != EAGAIN) return false;
    if (sent < 0) break;
    done += static_cast<size_t>(sent);
    if (state_ == State::kTunnel) deadline_ms_ = NowMs() + kIdleMs;
  }
  flow->data.erase(0, done);
  if (flow->data.empty() && flow->ended && !flow->passed_on) {
    flow->passed_on = true;
    (void)shutdown(fd, SHUT_WR);
  }
  return true;
}

void Connection::Move() {
  if (state_ == State::kReplying) {
    Flow dropped;
    const uint64_t deadline = deadline_ms_;
    const bool whole = Read(client_.get(), &dropped, nullptr) && !dropped.ended;
    deadline_ms_ = deadline;
    if (!Write(client_.get(), &in_) || (!whole && in_.data.empty())) return End();
    return all_.poller.Change(client_.get(), EPOLLIN | (in_.data.empty() ? 0u : EPOLLOUT));
  }
  const bool fine = Read(client_.get(), &out_, &all_.counters.sent_bytes) &&
                    Read(server_.get(), &in_, &all_.counters.received_bytes) &&
                    Write(server_.get(), &out_) && Write(client_.get(), &in_);
  if (!fine || (out_.passed_on && in_.passed_on)) return End();
  Watch();
}

void Connection::Watch() {
  const auto events = [](const Flow& from, const Flow& to) {
    const bool room = !from.ended && from.data.size() < kFlowBytes;
    return (room ? uint32_t{EPOLLIN} : 0u) | (to.data.empty() ? 0u : uint32_t{EPOLLOUT});
  };
  all_.poller.Change(client_.get(), events(out_, in_));
  all_.poller.Change(server_.get(), events(in_, out_));
}

}  // namespace spore::egress
