#include "tools/clients/cpp/link.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdlib>

namespace spore {
inline namespace client_0 {
namespace {

constexpr const char* kDefaultSocket = "/run/spore/spored.sock";
constexpr std::size_t kIdleConnections = 8;

std::string SocketPath(const std::string& given) {
  if (!given.empty()) return given;
  const char* configured = std::getenv("SPORE_SOCKET");
  return configured != nullptr && *configured != '\0' ? configured : kDefaultSocket;
}

// Something to read where no answer is due: spored has closed it.
bool IsStale(const client::Connection& connection) {
  pollfd state{connection.fd(), POLLIN | POLLRDHUP, 0};
  return ::poll(&state, 1, 0) != 0;
}

// 0: none (socket(7), SO_RCVTIMEO).
void SetTimeout(const client::Connection& connection, std::chrono::milliseconds timeout) {
  timeval value{};
  value.tv_sec = timeout.count() / 1000;
  value.tv_usec = timeout.count() % 1000 * 1000;
  for (const int option : {SO_RCVTIMEO, SO_SNDTIMEO}) {
    ::setsockopt(connection.fd(), SOL_SOCKET, option, &value, sizeof value);
  }
}

ErrorKind KindOf(int code) {
  switch (code) {
    case client::kInvalidArgument:
      return ErrorKind::kInvalidArgument;
    case client::kNotFound:
      return ErrorKind::kNotFound;
    case client::kAlreadyExists:
      return ErrorKind::kAlreadyExists;
    case client::kPermissionDenied:
      return ErrorKind::kPermissionDenied;
    case client::kResourceExhausted:
      return ErrorKind::kOverloaded;
    case client::kFailedPrecondition:
      return ErrorKind::kFailedPrecondition;
    default:
      return ErrorKind::kCallFailed;
  }
}

}  // namespace

Link::Link(const ClientOptions& options)
    : socket_(SocketPath(options.socket)),
      timeout_(std::max(options.timeout, std::chrono::milliseconds{0})) {}

Result<> Link::Reach() {
  auto connection = Take({});
  if (!connection) return tl::unexpected(connection.error());
  Keep(std::move(*connection));
  return {};
}

Result<client::Connection> Link::Take(std::chrono::milliseconds waits) {
  const auto timeout = timeout_.count() == 0 ? timeout_ : timeout_ + waits;
  for (;;) {
    std::unique_lock lock(mutex_);
    if (idle_.empty()) break;
    client::Connection connection = std::move(idle_.back());
    idle_.pop_back();
    lock.unlock();
    if (IsStale(connection)) continue;
    SetTimeout(connection, timeout);
    return connection;
  }
  auto connection = client::Connection::Open(socket_);
  if (!connection) return tl::unexpected(Translate(connection.error()));
  SetTimeout(*connection, timeout);
  return std::move(*connection);
}

void Link::Keep(client::Connection connection) {
  const std::lock_guard lock(mutex_);
  if (idle_.size() < kIdleConnections) idle_.push_back(std::move(connection));
}

Error Link::Translate(const client::Error& error) const {
  switch (error.kind) {
    case client::ErrorKind::kRefused:
      return {KindOf(error.code), error.message, error.code, 0, {}, {}};
    case client::ErrorKind::kLocal:
      return LocalFailure(error);
    case client::ErrorKind::kUnreachable:
    case client::ErrorKind::kLost:
      break;
  }
  if (error.errno_value == EAGAIN && timeout_.count() > 0) {
    return {ErrorKind::kTimedOut,
            "spored has not answered within " + std::to_string(timeout_.count()) +
                " ms (ClientOptions::timeout); the call is cancelled",
            0,
            EAGAIN,
            {},
            {}};
  }
  return {ErrorKind::kConnectionFailed, error.message, 0, error.errno_value, {}, {}};
}

Error LocalFailure(const client::Error& error) {
  return {ErrorKind::kLocal, error.message, 0, error.errno_value, {}, {}};
}

Error Failure(ErrorKind kind, const v1::FunctionError& error) {
  std::string message = error.message();
  if (!error.type().empty()) {
    message = message.empty() ? error.type() : error.type() + ": " + message;
  }
  return {kind, std::move(message), 0,
          0,    error.type(),       {error.stack_trace().begin(), error.stack_trace().end()}};
}

uint64_t Milliseconds(std::chrono::milliseconds time) {
  return time.count() > 0 ? static_cast<uint64_t>(time.count()) : 0;
}

TimePoint AtMilliseconds(int64_t unix_ms) {
  return TimePoint(std::chrono::milliseconds(unix_ms));
}

v1::Limits ToMessage(const Limits& limits) {
  v1::Limits message;
  message.set_memory_bytes(limits.memory);
  // What is no number, negative or beyond the field is refused by spored as what it becomes here.
  const double millis = std::round(limits.cpus * 1000);
  if (millis >= 0 && millis <= UINT32_MAX) {
    message.set_cpu_millis(static_cast<uint32_t>(millis));
  } else {
    message.set_cpu_millis(UINT32_MAX);
  }
  message.set_pids(limits.pids);
  message.set_tmp_bytes(limits.tmp);
  message.set_timeout_ms(Milliseconds(limits.timeout));
  message.set_max_instances(limits.max_instances);
  return message;
}

}  // namespace client_0
}  // namespace spore
