#include "tools/gateway/dashboard.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "tools/gateway/dashboard_files.h"

namespace spore::gateway {
namespace {

constexpr int64_t kKeptMs = 900;
// After a refresh that took long the next one waits for so many times as long: a busy spored is not
// kept busy by those who look at it.
constexpr int64_t kRest = 10;
constexpr int64_t kLongestKeptMs = 5000;
// A spored that has not answered for so long is told as one that does not.
constexpr int64_t kPatienceMs = 3000;
constexpr uint32_t kMostFunctions = 1000;

// Nothing but the page's own files and its own address; no markup made of text by its script.
constexpr std::string_view kPolicy =
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'";

int64_t NowUnixMs() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

void Send(const ExchangePtr& exchange, const char* type, std::string_view content) {
  HttpResponse response;
  response.headers = {{"Content-Type", type},
                      {"Content-Security-Policy", std::string(kPolicy)},
                      {"X-Content-Type-Options", "nosniff"},
                      {"X-Frame-Options", "DENY"},
                      {"Referrer-Policy", "no-referrer"},
                      {"Cross-Origin-Opener-Policy", "same-origin"},
                      {"Cross-Origin-Resource-Policy", "same-origin"},
                      {"Cache-Control", "no-cache"}};
  response.body = content;
  exchange->Respond(std::move(response));
}

void SendState(const ExchangePtr& exchange, const std::string& body) {
  HttpResponse response;
  response.headers = {{"Content-Type", "application/json"},
                      {"X-Content-Type-Options", "nosniff"},
                      {"Cross-Origin-Resource-Policy", "same-origin"},
                      {"Cache-Control", "no-store"}};
  response.body = body;
  exchange->Respond(std::move(response));
}

}  // namespace

void DashboardPage(Service&, const ExchangePtr& exchange, const RouteMatch&) {
  Send(exchange, "text/html; charset=utf-8", kDashboardHtml);
}

void DashboardStyle(Service&, const ExchangePtr& exchange, const RouteMatch&) {
  Send(exchange, "text/css; charset=utf-8", kDashboardCss);
}

void DashboardScript(Service&, const ExchangePtr& exchange, const RouteMatch&) {
  Send(exchange, "text/javascript; charset=utf-8", kDashboardJs);
}

void DashboardStateJson(Service& service, const ExchangePtr& exchange, const RouteMatch&) {
  if (!service.dashboard) service.dashboard = std::make_shared<Dashboard>(service);
  service.dashboard->Ask(exchange);
}

void Dashboard::Ask(const ExchangePtr& exchange) {
  const int64_t now = NowMs();
  if (pending_ == 0 && now < until_ms_) return SendState(exchange, body_);
  if (pending_ > 0 && now - refresh_ms_ > kPatienceMs) {
    return SendState(
        exchange, Unanswered("no answer for " + std::to_string((now - refresh_ms_) / 1000) + " s"));
  }
  std::erase_if(waiting_, [](const ExchangePtr& waiting) { return waiting->vanished(); });
  waiting_.push_back(exchange);
  if (pending_ == 0) Refresh();
}

template <typename Response, typename Request>
void Dashboard::Fetch(const char* service, const char* method, const Request& request,
                      std::function<void(Dashboard&, Response)> take) {
  ++pending_;
  const std::string name = std::string(service) + "." + method;
  service_.spored.Ask<Response>(
      "spore.v1." + std::string(service), method, request,
      [weak = weak_from_this(), take = std::move(take), name](client::Result<Response> response) {
        const auto self = weak.lock();
        if (!self) return;
        if (response) {
          take(*self, std::move(*response));
        } else {
          if (response.error().kind != client::ErrorKind::kRefused)
            self->unreachable_ = response.error().message;
          // A log may have gone with its function meanwhile.
          if (name != "Logs.Read")
            self->facts_.problems.push_back(name + ": " + response.error().message);
        }
        self->Done();
      });
}

template <typename Response, typename Request>
void Dashboard::Fetch(const char* service, const char* method, const Request& request,
                      std::optional<Response> DashboardFacts::*into) {
  Fetch<Response>(
      service, method, request,
      std::function<void(Dashboard&, Response)>(
          [into](Dashboard& self, Response taken) { self.facts_.*into = std::move(taken); }));
}

void Dashboard::Refresh() {
  facts_ = {};
  unreachable_.clear();
  logs_asked_ = false;
  refresh_ms_ = NowMs();
  refresh_unix_ms_ = NowUnixMs();
  v1::ListFunctionsRequest functions;
  functions.set_limit(kMostFunctions);
  v1::HistogramsRequest histograms;
  histograms.set_by_function(true);
  // One more than there are: an answer may come at once.
  pending_ = 1;
  Fetch("System", "Info", v1::InfoRequest(), &DashboardFacts::info);
  Fetch("System", "Stats", v1::StatsRequest(), &DashboardFacts::stats);
  Fetch("Functions", "List", functions, &DashboardFacts::functions);
  Fetch("Instances", "List", v1::ListInstancesRequest(), &DashboardFacts::instances);
  Fetch("Zygotes", "List", v1::ListZygotesRequest(), &DashboardFacts::zygotes);
  Fetch("Sandboxes", "List", v1::ListSandboxesRequest(), &DashboardFacts::sandboxes);
  Fetch("Async", "Stats", v1::AsyncStatsRequest(), &DashboardFacts::events);
  Fetch("Observability", "Histograms", histograms, &DashboardFacts::histograms);
  Fetch<v1::RecentEventsResponse>("Observability", "RecentEvents", errors_.NextEvents(),
                                  std::function<void(Dashboard&, v1::RecentEventsResponse)>(
                                      [](Dashboard& self, const v1::RecentEventsResponse& events) {
                                        self.errors_.AddEvents(events);
                                      }));
  Done();
}

// Of functions that have failed meanwhile, what with.
void Dashboard::FetchLogs() {
  logs_asked_ = true;
  if (!facts_.histograms) return;
  for (const std::string& function : errors_.FailedSince(*facts_.histograms)) {
    Fetch<v1::ReadLogsResponse>("Logs", "Read", errors_.LogsOf(function),
                                std::function<void(Dashboard&, v1::ReadLogsResponse)>(
                                    [function](Dashboard& self, const v1::ReadLogsResponse& logs) {
                                      self.errors_.AddLogs(function, logs);
                                    }));
  }
}

void Dashboard::Done() {
  if (--pending_ > 0) return;
  if (!logs_asked_) {
    pending_ = 1;
    FetchLogs();
    return Done();
  }
  Finish();
}

std::string Dashboard::Unanswered(const std::string& reason) {
  if (down_since_unix_ms_ == 0) down_since_unix_ms_ = refresh_unix_ms_;
  return DashboardDownJson(down_since_unix_ms_, reason, service_.http(), NowUnixMs());
}

void Dashboard::Finish() {
  if (facts_.stats) {
    down_since_unix_ms_ = 0;
    body_ = DashboardJson(facts_, errors_, service_.http(), NowUnixMs());
  } else {
    body_ = Unanswered(unreachable_.empty() ? facts_.problems.front() : unreachable_);
  }
  facts_ = {};
  const int64_t now = NowMs();
  until_ms_ = now + std::clamp(kRest * (now - refresh_ms_), kKeptMs, kLongestKeptMs);
  for (const ExchangePtr& exchange : std::exchange(waiting_, {})) SendState(exchange, body_);
}

}  // namespace spore::gateway
