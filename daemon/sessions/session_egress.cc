#include "daemon/sessions/session_egress.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "sandbox/sys/printable.h"

namespace spore {
namespace {

constexpr std::string_view kPrefix = "egress:";
constexpr std::chrono::milliseconds kFirstBackOff{100};
constexpr std::chrono::milliseconds kLongestBackOff{10'000};
constexpr uint64_t kStableNs = 10'000'000'000;
// A proxy sends a few packets a second. One that does not is no longer ours.
constexpr uint64_t kMaxPackets = 200;
constexpr uint64_t kSecondNs = 1'000'000'000;
constexpr size_t kShownCeiling = 400;
constexpr const char* kLoopback = "127.0.0.1";

Error Beyond(const egress::Rule& rule, const SessionsConfig& config) {
  std::string allowed = egress::ToText(config.egress);
  if (allowed.size() > kShownCeiling) allowed = allowed.substr(0, kShownCeiling) + "..";
  return {ErrorKind::kDenied,
          0,
          "network: rule \"" + egress::ToText(rule) +
              "\" goes beyond what this host allows, which is " +
              (allowed.empty() ? "nothing" : allowed),
          {},
          "an operator allows more with `egress` in [sessions] of spore.toml(5)"};
}

void Add(egress::Counters* to, const egress::Counters& from) {
  to->connections += from.connections;
  to->refused += from.refused;
  to->failed += from.failed;
  to->sent_bytes += from.sent_bytes;
  to->received_bytes += from.received_bytes;
}

std::string SettingsText(const EgressSettings& settings) {
  std::string text;
  for (const egress::Rule& rule : settings.rules)
    text += (rule.reaches_host ? "host-rule " : "rule ") + egress::ToText(rule) + "\n";
  for (const egress::Endpoint& server : settings.name_servers)
    text += "server " + egress::ToText(server) + "\n";
  return text;
}

}  // namespace

Result<std::optional<EgressSettings>> ParseNetwork(const std::string& text,
                                                   const SessionsConfig& config) {
  if (text.empty() || text == "none") return std::nullopt;
  if (!text.starts_with(kPrefix) || text.size() == kPrefix.size()) {
    return MakeError(ErrorKind::kInvalid,
                     "network: \"" + Printable(text.substr(0, 64)) +
                         "\"; expected none, or egress:RULE,.. as in egress:pypi.org:443");
  }
  auto rules = egress::ParseRules(std::string_view(text).substr(kPrefix.size()));
  if (!rules) return tl::unexpected(std::move(rules).error().Wrap("network"));
  if (const egress::Rule* beyond = egress::FirstBeyond(config.egress, *rules))
    return tl::unexpected(Beyond(*beyond, config));
  egress::VouchForHost(config.egress, *rules);
  return EgressSettings{std::move(*rules), config.name_servers};
}

std::string DescribeNetwork(const std::optional<EgressSettings>& settings) {
  return settings ? std::string(kPrefix) + egress::ToText(settings->rules) : "none";
}

// Both cases of a name are in use: curl knows http_proxy in lower case only, others upper. Socks is
// there, but not the default: libraries that see it in ALL_PROXY want a module that many lack.
const std::map<std::string, std::string>& EgressEnvironment() {
  static const auto& environment = *new std::map<std::string, std::string>([] {
    const std::string proxy =
        std::string("http://") + kLoopback + ":" + std::to_string(egress::kProxyPort);
    std::map<std::string, std::string> all;
    for (const char* name :
         {"http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"})
      all[name] = proxy;
    all["no_proxy"] = all["NO_PROXY"] = "localhost,127.0.0.1,::1";
    all["NODE_USE_ENV_PROXY"] = "1";
    return all;
  }());
  return environment;
}

SessionEgress::SessionEgress(EventLoop& loop, EgressProxies& proxies, EgressSettings settings,
                             UniqueFd listener, Cgroup& cgroup, Handlers handlers)
    : loop_(loop),
      proxies_(proxies),
      settings_(std::move(settings)),
      listener_(std::move(listener)),
      cgroup_(&cgroup),
      handlers_(std::move(handlers)),
      alive_(std::make_shared<bool>(true)) {}

SessionEgress::~SessionEgress() {
  *alive_ = false;
  Stop();
}

Result<> SessionEgress::Start() {
  if (!listener_)
    return MakeError(ErrorKind::kInternal, "the sandbox has no socket for a proxy to listen on");
  SPORE_ASSIGN(EgressProxies::Process process, proxies_.Start(listener_.get()));
  started_ns_ = MonotonicNs();
  const pid_t pid = process.pid;
  UniqueFd control = std::move(process.control);
  process_ = std::move(process);
  channel_ = std::make_unique<PacketChannel>(
      loop_, std::move(control),
      PacketChannel::Handlers{[this](Packet& packet) { OnPacket(packet); },
                              [this](int) { Ended("it has ended"); }});
  // Its settings, which it waits for, come when it is where it is limited.
  auto sent = cgroup_->Attach(pid);
  const std::string text = SettingsText(settings_);
  if (sent) sent = channel_->Send(std::as_bytes(std::span(text)));
  if (sent) return {};
  channel_.reset();
  proxies_.End(*std::exchange(process_, std::nullopt));
  return tl::unexpected(std::move(sent).error().Wrap("start the session's proxy"));
}

void SessionEgress::Stop() {
  stopped_ = true;
  handlers_.on_first = nullptr;
  serving_ = false;
  if (restart_timer_ != 0) loop_.CancelTimer(std::exchange(restart_timer_, 0));
  channel_.reset();
  if (process_) proxies_.End(*std::exchange(process_, std::nullopt));
  listener_.Reset();
  Add(&past_, std::exchange(now_, {}));
}

void SessionEgress::FirstDone(Result<> result) {
  auto done = std::exchange(handlers_.on_first, nullptr);
  if (!done) return;
  // The caller may destroy this for it.
  loop_.Post([done = std::move(done), result = std::move(result), alive = alive_] {
    if (*alive) done(result);
  });
}

bool SessionEgress::Flooded() {
  const uint64_t now = MonotonicNs();
  if (now - packets_since_ns_ > kSecondNs) {
    packets_since_ns_ = now;
    packets_ = 0;
  }
  return ++packets_ > kMaxPackets;
}

void SessionEgress::OnPacket(const Packet& packet) {
  egress::Report report;
  if (!packet.CopyTo(report) || report.magic != egress::kReportMagic || Flooded())
    return Ended("it was made to talk rubbish");
  const std::string line =
      Printable(std::string_view(report.line, strnlen(report.line, sizeof report.line)));
  if (!serving_ && !line.empty()) return Ended(line);
  now_ = report.counters;
  if (!serving_) {
    serving_ = true;
    if (restarts_ > 0) handlers_.log("egress: the proxy is there again");
    return FirstDone({});
  }
  if (!line.empty()) handlers_.log("egress: " + line);
}

// In its place another one is started, a little later. What it held open is lost.
void SessionEgress::Ended(const std::string& why) {
  channel_.reset();
  if (process_) proxies_.End(*std::exchange(process_, std::nullopt));
  Add(&past_, std::exchange(now_, {}));
  serving_ = false;
  if (stopped_) return;
  if (handlers_.on_first)
    return FirstDone(MakeError(ErrorKind::kUnavailable, "the session's proxy: " + why));
  handlers_.log("egress: the proxy: " + why + "; its connections are lost, another one is started");
  if (MonotonicNs() - started_ns_ > kStableNs) back_off_ = {};
  back_off_ = back_off_.count() == 0 ? kFirstBackOff : std::min(back_off_ * 2, kLongestBackOff);
  restart_timer_ = loop_.AddTimer(back_off_, [this] {
    restart_timer_ = 0;
    ++restarts_;
    if (auto started = Start(); !started) Ended(started.error().Message());
  });
}

void SessionEgress::Describe(v1::Egress* info) const {
  egress::Counters all = past_;
  Add(&all, now_);
  for (const egress::Rule& rule : settings_.rules) info->add_rules(egress::ToText(rule));
  info->set_open(now_.open);
  info->set_connections(all.connections);
  info->set_refused(all.refused);
  info->set_failed(all.failed);
  info->set_sent_bytes(all.sent_bytes);
  info->set_received_bytes(all.received_bytes);
  info->set_serving(serving_);
  info->set_restarts(restarts_);
}

}  // namespace spore
