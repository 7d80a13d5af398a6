#include "tools/gateway/metrics.h"

#include <algorithm>
#include <cstdio>

#include "spore/v1/spore.pb.h"
#include "tools/gateway/lambda_error.h"

namespace spore::gateway {
namespace {

constexpr int64_t kHealthMs = 250;

// Writes families one after another.
class Text {
 public:
  void Family(std::string_view name, std::string_view type, std::string_view help) {
    text_.append("# TYPE ").append(name).append(" ").append(type).append("\n");
    text_.append("# HELP ").append(name).append(" ").append(help).append("\n");
  }
  void Sample(std::string_view name, uint64_t value, std::string_view labels = {}) {
    SampleText(name, std::to_string(value), labels);
  }
  void SampleText(std::string_view name, std::string_view value, std::string_view labels = {}) {
    text_.append(name);
    if (!labels.empty()) text_.append("{").append(labels).append("}");
    text_.append(" ").append(value).append("\n");
  }
  void Counter(const std::string& name, std::string_view help, uint64_t value) {
    Family(name, "counter", help);
    Sample(name + "_total", value);
  }
  void Gauge(const std::string& name, std::string_view help, uint64_t value) {
    Family(name, "gauge", help);
    Sample(name, value);
  }
  std::string Finish() { return std::move(text_) + "# EOF\n"; }

 private:
  std::string text_;
};

std::string Seconds(uint64_t microseconds) {
  char text[32];
  std::snprintf(text, sizeof text, "%.6f", static_cast<double>(microseconds) / 1e6);
  return text;
}

// Of a label's value: names that spored has made.
std::string Label(std::string_view name, std::string_view value) {
  return std::string(name) + "=\"" + std::string(value) + "\"";
}

void AddSpored(const v1::StatsResponse& stats, Text& text) {
  text.Counter("spore_invocations", "Invocations that were served, failed ones included.",
               stats.invocations());
  text.Counter("spore_invocation_errors", "Invocations whose function failed.",
               stats.invocation_errors());
  text.Counter("spore_runs", "Scripts and programs that were run.", stats.runs());
  text.Counter("spore_overloaded", "Requests refused because a queue or limit was full.",
               stats.overloaded());
  text.Family("spore_starts", "counter", "Starts by kind.");
  for (const auto& [kind, count] : stats.starts())
    text.Sample("spore_starts_total", count, Label("kind", kind));
  text.Family("spore_deaths", "counter", "Instances that ended, by cause.");
  for (const auto& [cause, count] : stats.deaths())
    text.Sample("spore_deaths_total", count, Label("cause", cause));
  text.Gauge("spore_functions", "Deployed functions.", stats.functions());
  text.Family("spore_instances", "gauge", "Instances that are there.");
  const uint32_t idle = std::min(stats.instances_idle(), stats.instances_live());
  text.Sample("spore_instances", idle, Label("state", "idle"));
  text.Sample("spore_instances", stats.instances_live() - idle, Label("state", "busy"));
  text.Gauge("spore_queued", "Invocations that wait for an instance.", stats.queued());
  text.Gauge("spore_sandboxes_ready", "Sandboxes made ahead.", stats.sandboxes_ready());
  text.Gauge("spore_sandboxes_spare", "Sandboxes made ahead, not warmed up.",
             stats.sandboxes_spare());
  text.Gauge("spore_daemon_memory_bytes", "Memory of spored (PSS).", stats.daemon_memory_bytes());
  text.Family("spore_invocation_duration_seconds", "summary",
              "Invocations, from request read to answer, since the start.");
  text.SampleText("spore_invocation_duration_seconds", Seconds(stats.latency_p50_us()),
                  "quantile=\"0.5\"");
  text.SampleText("spore_invocation_duration_seconds", Seconds(stats.latency_p99_us()),
                  "quantile=\"0.99\"");
  text.Family("spore_uptime_seconds", "gauge", "Time since spored started.");
  text.SampleText("spore_uptime_seconds", Seconds(stats.uptime_ms() * 1000));
}

void AddGateway(const Service& service, Text& text) {
  const HttpCounters& http = service.http();
  text.Gauge("spore_gateway_connections", "Clients that are connected.", http.connections);
  text.Counter("spore_gateway_connections_accepted", "Clients that connected.", http.accepted);
  text.Counter("spore_gateway_connections_refused", "Clients turned away: no place was free.",
               http.refused_connections);
  text.Counter("spore_gateway_requests", "Requests whose head was read.", http.requests);
  text.Counter("spore_gateway_malformed", "Requests that were not HTTP as it is taken here.",
               http.malformed);
  text.Counter("spore_gateway_timed_out", "Requests or answers that took too long on the wire.",
               http.timed_out);
  text.Counter("spore_gateway_tls_failed", "Connections that ended with an error of TLS.",
               http.tls_failed);
  text.Counter("spore_gateway_vanished", "Clients that went before their answer.", http.vanished);
  text.Gauge("spore_gateway_in_progress", "Requests that are being served.", http.in_progress);
  text.Family("spore_gateway_responses", "counter", "Answers by class of status.");
  for (int i = 1; i < 6; ++i) {
    text.Sample("spore_gateway_responses_total", http.by_class[i],
                Label("class", std::to_string(i) + "xx"));
  }
  text.Gauge("spore_gateway_spored_connections", "Connections to spored.", service.spored.links());
  text.Counter("spore_gateway_spored_lost", "Connections to spored that were lost.",
               service.spored.lost());
}

HttpResponse HealthResponse(bool healthy) {
  HttpResponse response;
  response.headers = {{"Content-Type", "text/plain; charset=utf-8"}};
  response.body = "ok\n";
  if (healthy) return response;
  response.status = 503;
  response.headers.push_back({"Retry-After", "1"});
  response.body = "spored does not answer\n";
  return response;
}

}  // namespace

void Metrics(Service& service, const ExchangePtr& exchange, const RouteMatch&) {
  service.spored.Ask<v1::StatsResponse>(
      "spore.v1.System", "Stats", v1::StatsRequest(),
      [exchange, &service](client::Result<v1::StatsResponse> stats) {
        Text text;
        // Without spored the gateway still tells of itself.
        text.Gauge("spore_up", "Whether spored answers.", stats ? 1 : 0);
        if (stats) AddSpored(*stats, text);
        AddGateway(service, text);
        HttpResponse response;
        response.headers = {
            {"Content-Type", "application/openmetrics-text; version=1.0.0; charset=utf-8"}};
        response.body = text.Finish();
        exchange->Respond(std::move(response));
      });
}

void Health(Service& service, const ExchangePtr& exchange, const RouteMatch&) {
  if (NowMs() < service.health_until_ms) return exchange->Respond(HealthResponse(service.healthy));
  service.spored.Ask<v1::InfoResponse>("spore.v1.System", "Info", v1::InfoRequest(),
                                       [exchange, &service](client::Result<v1::InfoResponse> info) {
                                         service.healthy = info.has_value();
                                         service.health_until_ms = NowMs() + kHealthMs;
                                         exchange->Respond(HealthResponse(service.healthy));
                                       });
}

}  // namespace spore::gateway
