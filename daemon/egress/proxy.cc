#include "daemon/egress/proxy.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <sstream>

#include "sandbox/sys/printable.h"

namespace spore::egress {
namespace {

// Beyond kMaxConnections so many more are read, to be told that there are too many.
constexpr size_t kMaxTold = 32;
constexpr int kTickMs = 250;
constexpr uint64_t kReportMs = 200;
constexpr uint32_t kMaxTokens = 20;  // lines at once,
constexpr uint64_t kTokenMs = 500;   // and one more after this long
constexpr int kAcceptedAtOnce = 16;

}  // namespace

Result<Settings> ParseSettings(const std::string& text) {
  Settings settings;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    const size_t space = std::min(line.find(' '), line.size());
    const std::string key = line.substr(0, space);
    const std::string value = line.substr(std::min(space + 1, line.size()));
    if (key == "rule" || key == "host-rule") {
      SPORE_ASSIGN(Rule rule, ParseRule(value));
      rule.reaches_host = key == "host-rule";
      settings.rules.push_back(std::move(rule));
      continue;
    }
    const auto server = ParseEndpoint(value, 53);
    if (key != "server" || !server)
      return MakeError(ErrorKind::kInternal, "a broken line of settings: " + Printable(line));
    settings.servers.push_back(*server);
  }
  return settings;
}

Proxy::Proxy(Poller& poller, Settings settings, int listener, int control)
    : poller_(poller),
      settings_(std::move(settings)),
      listener_(listener),
      control_(control),
      tokens_(kMaxTokens),
      resolver_(poller, settings_.servers, settings_.hosts),
      surroundings_{poller_, resolver_, settings_.rules, counters_,
                    [this](const std::string& line) { Log(line); }} {}

Result<> Proxy::Serve() {
  const bool watched = poller_.Add(control_, EPOLLIN | EPOLLRDHUP, [this](uint32_t) {
    over_ = true;
  }) && poller_.Add(listener_, EPOLLIN, [this](uint32_t) { Accept(); });
  if (!watched) return SysError("epoll_ctl");
  accepts_ = true;
  Report("");
  while (!over_) {
    const bool idle = connections_.empty() && unsaid_ == 0 && !Changed();
    SPORE_TRY(poller_.Turn(idle ? -1 : kTickMs));
    const uint64_t now = NowMs();
    resolver_.Tick(now);
    Sweep(now);
    Refill(now);
    ReportIfChanged(now);
  }
  return {};
}

void Proxy::Accept() {
  for (int i = 0; i < kAcceptedAtOnce && connections_.size() < kMaxConnections + kMaxTold; ++i) {
    UniqueFd client(accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!client) break;
    connections_.emplace_back(surroundings_, std::move(client));
  }
}

// Ends what is over, and takes new ones when there is room again.
void Proxy::Sweep(uint64_t now_ms) {
  const bool tick = now_ms - swept_ms_ >= kTickMs;
  if (tick) swept_ms_ = now_ms;
  for (auto it = connections_.begin(); it != connections_.end();) {
    if (tick) it->Tick(now_ms);
    it = it->over() ? connections_.erase(it) : std::next(it);
  }
  const bool room = connections_.size() < kMaxConnections + kMaxTold;
  if (room != accepts_) poller_.Change(listener_, room ? uint32_t{EPOLLIN} : 0u);
  accepts_ = room;
}

void Proxy::Log(const std::string& line) {
  if (tokens_ == 0) {
    ++unsaid_;
    return;
  }
  --tokens_;
  Report(line);
}

void Proxy::Refill(uint64_t now_ms) {
  while (tokens_ < kMaxTokens && now_ms - tokens_ms_ >= kTokenMs) {
    tokens_ms_ = std::max(tokens_ms_ + kTokenMs, now_ms - kTokenMs * kMaxTokens);
    ++tokens_;
  }
  if (tokens_ == kMaxTokens) tokens_ms_ = now_ms;
  if (unsaid_ == 0 || tokens_ == 0) return;
  --tokens_;
  Report(std::to_string(unsaid_) + " more, not logged one by one");
  unsaid_ = 0;
}

bool Proxy::Changed() const {
  return memcmp(&counters_, &told_, sizeof told_) != 0;
}

void Proxy::ReportIfChanged(uint64_t now_ms) {
  if (Changed() && now_ms - told_ms_ >= kReportMs) Report("");
}

void Proxy::Report(const std::string& line) {
  egress::Report report;
  report.counters = counters_;
  strncpy(report.line, line.c_str(), sizeof report.line - 1);
  // A full socket: spored is busy, and has the numbers of the next one.
  if (send(control_, &report, sizeof report, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 && errno != EAGAIN)
    over_ = true;
  told_ = counters_;
  told_ms_ = NowMs();
}

}  // namespace spore::egress
