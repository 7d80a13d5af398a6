#include "tools/gateway/http_connection.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "tools/gateway/http_serialize.h"

namespace spore::gateway {
namespace {

constexpr std::size_t kReadBytes = 64 << 10;
// What a client that was refused may still send before its connection is cut: else it would not see
// the answer, because data that nobody reads makes the kernel reset the connection.
constexpr std::size_t kMaxLinger = 128u << 20;
constexpr int64_t kLingerMs = 5000;
// An answer up to this is sent however much memory others take.
constexpr std::size_t kAlwaysSent = 64 << 10;
constexpr std::size_t kKeptBuffer = 256 << 10;

}  // namespace

class HttpConnection::Pending final : public Exchange {
 public:
  explicit Pending(std::weak_ptr<HttpConnection> connection) : connection_(std::move(connection)) {}
  ~Pending() override {
    if (answered_ || vanished_) return;
    HttpResponse response;
    response.status = 500;
    response.body = "the request was dropped without an answer\n";
    Respond(std::move(response));
  }
  void Respond(HttpResponse response) override {
    if (std::exchange(answered_, true) || vanished_) return;
    on_vanish_ = nullptr;
    if (auto connection = connection_.lock()) connection->Answer(std::move(response));
  }
  void OnVanish(std::function<void()> vanished) override {
    if (vanished_) return vanished();
    if (!answered_) on_vanish_ = std::move(vanished);
  }
  bool vanished() const override { return vanished_; }
  void Vanish() {
    if (answered_ || std::exchange(vanished_, true)) return;
    if (auto callback = std::exchange(on_vanish_, nullptr)) callback();
  }

 private:
  std::weak_ptr<HttpConnection> connection_;
  std::function<void()> on_vanish_;
  bool answered_ = false;
  bool vanished_ = false;
};

HttpConnection::HttpConnection(std::shared_ptr<Shared> shared, client::Fd socket,
                               std::unique_ptr<Transport> transport, std::string peer,
                               std::function<void()> on_closed)
    : shared_(std::move(shared)),
      socket_(std::move(socket)),
      transport_(std::move(transport)),
      peer_(std::move(peer)),
      on_closed_(std::move(on_closed)),
      deadline_ms_(NowMs() + shared_->limits.head_ms) {
  ++shared_->counters.connections;
  ++shared_->counters.accepted;
}

HttpConnection::~HttpConnection() {
  CountBody(0);
  --shared_->counters.connections;
}

bool HttpConnection::Start() {
  auto watch = shared_->loop.Watch(socket_.get(), EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
                                   [weak = weak_from_this()](uint32_t events) {
                                     if (auto self = weak.lock()) self->OnEvents(events);
                                   });
  if (!watch) return false;
  watch_ = *watch;
  return true;
}

void HttpConnection::Close() {
  if (state_ == State::kClosed) return;
  const bool busy = state_ == State::kBusy;
  state_ = State::kClosed;
  if (watch_ != 0) shared_->loop.Unwatch(watch_);
  socket_.Reset();
  if (busy) {
    --shared_->counters.in_progress;
    ++shared_->counters.vanished;
  }
  if (auto pending = std::exchange(pending_, nullptr)) pending->Vanish();
  if (auto closed = std::exchange(on_closed_, nullptr)) closed();
}

void HttpConnection::CheckDeadline(int64_t now_ms) {
  if (state_ == State::kBusy || state_ == State::kClosed || now_ms < deadline_ms_) return;
  const auto self = shared_from_this();
  const bool told = state_ == State::kBody || (state_ == State::kHead && !input_.empty());
  if (told || state_ == State::kWriting) ++shared_->counters.timed_out;
  if (!told) return Close();
  Refuse(408, "the request did not arrive in time");
  Advance();
}

void HttpConnection::OnEvents(uint32_t events) {
  const auto self = shared_from_this();
  if ((events & (EPOLLERR | EPOLLHUP)) != 0) return Close();
  if ((events & EPOLLRDHUP) != 0 && state_ == State::kBusy) return Close();
  // TLS may have waited to write before it could go on reading.
  if ((events & (EPOLLIN | EPOLLRDHUP)) != 0 || !transport_->plain()) readable_ = true;
  Advance();
}

void HttpConnection::Advance() {
  if (advancing_) return;
  advancing_ = true;
  while (Step()) {
  }
  advancing_ = false;
}

bool HttpConnection::Step() {
  switch (state_) {
    case State::kHead:
    case State::kBody:
      return TakeRequest();
    case State::kWriting:
      return Flush() && AfterAnswer();
    case State::kLingering:
      return Linger();
    case State::kBusy:
    case State::kClosed:
      return false;
  }
  return false;
}

// True: there is more to parse, or the connection has ended.
bool HttpConnection::ReadMore() {
  if (!readable_) return false;
  std::array<char, kReadBytes> buffer;
  ssize_t got = 0;
  do {
    got = transport_->Read(buffer.data(), buffer.size());
  } while (got < 0 && errno == EINTR);
  if (got < 0 && errno == EAGAIN) {
    readable_ = false;
    return false;
  }
  if (got <= 0) {
    if (got < 0 && errno == EPROTO) ++shared_->counters.tls_failed;
    Close();
    return true;
  }
  // Edge-triggered: after a short read the next byte makes an event again (epoll(7)).
  if (transport_->plain() && static_cast<std::size_t>(got) < buffer.size()) readable_ = false;
  if (state_ == State::kHead && input_.empty()) deadline_ms_ = NowMs() + shared_->limits.head_ms;
  input_.append(buffer.data(), static_cast<std::size_t>(got));
  return true;
}

bool HttpConnection::TakeRequest() {
  std::string_view rest = input_;
  HttpParser::Progress progress = HttpParser::Progress::kMore;
  if (!input_.empty() || state_ == State::kBody) {
    progress = parser_.Parse(rest);
    input_.erase(0, input_.size() - rest.size());
  }
  CountBody(parser_.request().body.size());
  switch (progress) {
    case HttpParser::Progress::kMore:
      if (shared_->counters.body_bytes > shared_->limits.max_body_memory) {
        Refuse(503, "too many requests are being received");
        return true;
      }
      return ReadMore();
    case HttpParser::Progress::kHead:
      return OnHead();
    case HttpParser::Progress::kDone:
      Dispatch();
      return true;
    case HttpParser::Progress::kFailed:
      if (parser_.status() == 413 && admission_.too_large) {
        HttpResponse response = admission_.too_large(admission_.max_body);
        response.close = true;
        keep_alive_ = false;
        Answer(std::move(response));
      } else {
        ++shared_->counters.malformed;
        Refuse(parser_.status(), parser_.reason());
      }
      return true;
  }
  return false;
}

bool HttpConnection::OnHead() {
  ++shared_->counters.requests;
  state_ = State::kBody;
  deadline_ms_ = NowMs() + shared_->limits.body_ms;
  keep_alive_ = parser_.keep_alive() && !shared_->draining;
  head_only_ = parser_.request().method == "HEAD";
  parser_.request().peer = peer_;
  admission_ = shared_->handler.Admit(parser_.request());
  if (!admission_.admitted) {
    // A body that has not been read leaves open where the next request begins.
    const HttpRequest& head = parser_.request();
    if (head.Has("transfer-encoding") || head.Has("content-length"))
      admission_.refusal.close = true;
    Answer(std::move(admission_.refusal));
    return true;
  }
  parser_.SetMaxBody(admission_.max_body);
  if (parser_.expects_continue() && input_.empty()) {
    static constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
    // A socket that cannot take these few bytes has a client that does not read.
    if (transport_->Write(kContinue.data(), kContinue.size()) !=
        static_cast<ssize_t>(kContinue.size())) {
      Close();
    }
  }
  return true;
}

void HttpConnection::Dispatch() {
  state_ = State::kBusy;
  ++shared_->counters.in_progress;
  auto pending = std::make_shared<Pending>(weak_from_this());
  pending->request = std::move(parser_.request());
  pending_ = pending;
  shared_->handler.Handle(pending);
}

void HttpConnection::Refuse(int status, const std::string& reason) {
  HttpResponse response;
  response.status = status;
  response.headers.push_back({"Content-Type", "text/plain; charset=utf-8"});
  if (status == 503) response.headers.push_back({"Retry-After", "1"});
  response.body = reason + "\n";
  response.close = true;
  Answer(std::move(response));
}

void HttpConnection::Answer(HttpResponse response) {
  if (state_ == State::kClosed) return;
  if (state_ == State::kBusy) --shared_->counters.in_progress;
  pending_.reset();
  CountBody(response.body.size());
  if (response.body.size() > kAlwaysSent &&
      shared_->counters.body_bytes > shared_->limits.max_body_memory) {
    response = {503,
                {{"Content-Type", "text/plain; charset=utf-8"}, {"Retry-After", "1"}},
                "too many large answers are under way\n",
                true};
    CountBody(0);
  }
  if (response.close || shared_->draining) keep_alive_ = false;
  ++shared_->counters.by_class[std::clamp(response.status / 100, 0, 5)];
  state_ = State::kWriting;
  deadline_ms_ = NowMs() + shared_->limits.write_ms;
  written_ = 0;
  output_.clear();
  Serialize(response, keep_alive_, head_only_, &output_);
  const auto self = shared_from_this();
  Advance();
}

bool HttpConnection::Flush() {
  while (written_ < output_.size()) {
    const ssize_t sent = transport_->Write(output_.data() + written_, output_.size() - written_);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0 && errno == EAGAIN) return false;
    if (sent < 0) {
      Close();
      return false;
    }
    written_ += static_cast<std::size_t>(sent);
  }
  return true;
}

bool HttpConnection::AfterAnswer() {
  if (output_.capacity() > kKeptBuffer) std::string().swap(output_);
  output_.clear();
  written_ = 0;
  CountBody(0);
  if (!keep_alive_) {
    transport_->EndWriting();
    ::shutdown(socket_.get(), SHUT_WR);
    state_ = State::kLingering;
    lingered_ = 0;
    deadline_ms_ = NowMs() + kLingerMs;
    readable_ = true;
    return true;
  }
  parser_ = HttpParser();
  admission_ = {};
  if (input_.empty() && input_.capacity() > kKeptBuffer) std::string().swap(input_);
  state_ = State::kHead;
  deadline_ms_ = NowMs() + (input_.empty() ? shared_->limits.idle_ms : shared_->limits.head_ms);
  return true;
}

bool HttpConnection::Linger() {
  input_.clear();
  std::array<char, kReadBytes> buffer;
  while (readable_) {
    const ssize_t got = ::recv(socket_.get(), buffer.data(), buffer.size(), 0);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EAGAIN) {
      readable_ = false;
      break;
    }
    if (got > 0) lingered_ += static_cast<std::size_t>(got);
    if (got <= 0 || lingered_ > kMaxLinger) {
      Close();
      break;
    }
  }
  return false;
}

void HttpConnection::CountBody(std::size_t bytes) {
  shared_->counters.body_bytes += bytes;
  shared_->counters.body_bytes -= std::exchange(counted_body_, bytes);
}

}  // namespace spore::gateway
