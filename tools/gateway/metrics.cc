#include "tools/gateway/metrics.h"

#include <algorithm>
#include <cstdio>
#include <map>

#include "spore/v1/observability.pb.h"
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

// Names that spored has checked; escaped all the same.
std::string Label(std::string_view name, std::string_view value) {
  std::string label = std::string(name) + "=\"";
  for (const char c : value) {
    if (c == '\\' || c == '"') label += '\\';
    if (c == '\n') {
      label += "\\n";
    } else {
      label += c;
    }
  }
  return label + "\"";
}

// Protobuf's maps have no order of their own.
template <typename Value>
std::map<std::string, Value> InOrder(const google::protobuf::Map<std::string, Value>& map) {
  return {map.begin(), map.end()};
}

// Bounds that the daemon's own buckets never straddle: powers of two, 64 us to 67 s.
constexpr int kFirstBound = 6, kLastBound = 26;

void AddHistogram(const std::string& name, const std::string& label, const v1::Histogram& histogram,
                  Text& text) {
  uint64_t sum = 0;
  auto bucket = histogram.buckets().begin();
  for (int bound = kFirstBound; bound <= kLastBound; ++bound) {
    const uint64_t below_us = uint64_t{1} << bound;
    for (; bucket != histogram.buckets().end() && bucket->up_to_us() < below_us; ++bucket)
      sum += bucket->count();
    text.Sample(name + "_bucket", sum, label + "," + Label("le", Seconds(below_us)));
  }
  text.Sample(name + "_bucket", histogram.count(), label + ",le=\"+Inf\"");
  text.Sample(name + "_count", histogram.count(), label);
  text.SampleText(name + "_sum", Seconds(histogram.sum_us()), label);
}

void AddHistograms(const v1::HistogramsResponse& response, Text& text) {
  const v1::Figures& all = response.figures();
  const std::string duration = "spore_invocation_duration_seconds";
  text.Family(duration, "histogram",
              "Invocations, from request read to answer, by how they found their instance.");
  for (const auto& [start, histogram] : InOrder(all.total()))
    AddHistogram(duration, Label("start", start), histogram, text);
  const std::string phase = "spore_invocation_phase_seconds";
  text.Family(phase, "histogram", "Phases of invocations.");
  for (const auto& [name, histogram] : InOrder(all.phases()))
    AddHistogram(phase, Label("phase", name), histogram, text);
  const auto counts = [&text](const std::string& name, const char* label, const char* help,
                              const auto& map) {
    text.Family(name, "counter", help);
    for (const auto& [key, count] : InOrder(map))
      text.Sample(name + "_total", count, Label(label, key));
  };
  counts("spore_failures", "cause", "Invocations whose function failed, by cause.",
         all.failures_by_cause());
  counts("spore_refusals", "cause", "Requests that got no instance, by cause.",
         all.refusals_by_cause());
  counts("spore_events", "kind", "What has happened on the host, by kind.", response.events());
  const auto by_function = [&](const std::string& name, const char* help, const auto& value) {
    text.Family(name, "counter", help);
    for (const v1::Figures& figures : response.functions())
      text.SampleText(name + "_total", value(figures), Label("function", figures.function()));
  };
  by_function("spore_function_invocations", "Invocations by function.",
              [](const v1::Figures& figures) { return std::to_string(figures.invocations()); });
  by_function("spore_function_failures", "Failed invocations by function.",
              [](const v1::Figures& figures) { return std::to_string(figures.failures()); });
  by_function("spore_function_seconds", "Time that invocations took, by function.",
              [](const v1::Figures& figures) {
                uint64_t sum = 0;
                for (const auto& [start, histogram] : figures.total()) sum += histogram.sum_us();
                return Seconds(sum);
              });
}

void AddZygotes(const v1::ListZygotesResponse& response, Text& text) {
  struct Sums {
    uint64_t ready = 0, sandboxes = 0, instances = 0, forks = 0, memory = 0;
  };
  std::map<std::string, Sums> zygotes;  // of an image or set, all generations together
  for (const v1::Zygote& zygote : response.zygotes()) {
    Sums& sums = zygotes[Label("image", zygote.image()) + "," + Label("set", zygote.set())];
    sums.ready += zygote.state() == v1::Zygote::READY ? 1u : 0u;
    sums.sandboxes += zygote.sandboxes_ready();
    sums.instances += zygote.instances();
    sums.forks += zygote.forks();
    sums.memory += zygote.memory_bytes();
  }
  const auto add = [&](const std::string& name, const char* help, uint64_t Sums::*member) {
    text.Family(name, "gauge", help);
    for (const auto& [labels, sums] : zygotes) text.Sample(name, sums.*member, labels);
  };
  add("spore_zygotes_ready", "Zygotes that serve.", &Sums::ready);
  add("spore_zygote_sandboxes_ready", "Sandboxes that wait, by zygote.", &Sums::sandboxes);
  add("spore_zygote_instances", "Instances that are there, by zygote.", &Sums::instances);
  add("spore_zygote_forks", "Copies that were given away, of zygotes that are there.",
      &Sums::forks);
  add("spore_zygote_memory_bytes", "Memory (PSS), where the gateway may know it.", &Sums::memory);
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
  struct Answers {
    client::Result<v1::StatsResponse> stats;
    client::Result<v1::HistogramsResponse> histograms;
    client::Result<v1::ListZygotesResponse> zygotes;
    int awaited = 3;
  };
  const auto answers = std::make_shared<Answers>();
  const auto one_came = [exchange, &service, answers] {
    if (--answers->awaited > 0) return;
    Text text;
    // Without spored the gateway still tells of itself.
    text.Gauge("spore_up", "Whether spored answers.", answers->stats ? 1 : 0);
    if (answers->stats) AddSpored(*answers->stats, text);
    if (answers->stats && answers->histograms) AddHistograms(*answers->histograms, text);
    if (answers->stats && answers->zygotes) AddZygotes(*answers->zygotes, text);
    AddGateway(service, text);
    HttpResponse response;
    response.headers = {
        {"Content-Type", "application/openmetrics-text; version=1.0.0; charset=utf-8"}};
    response.body = text.Finish();
    exchange->Respond(std::move(response));
  };
  v1::HistogramsRequest by_function;
  by_function.set_by_function(true);
  service.spored.Ask<v1::StatsResponse>("spore.v1.System", "Stats", v1::StatsRequest(),
                                        [answers, one_came](auto stats) {
                                          answers->stats = std::move(stats);
                                          one_came();
                                        });
  service.spored.Ask<v1::HistogramsResponse>("spore.v1.Observability", "Histograms", by_function,
                                             [answers, one_came](auto histograms) {
                                               answers->histograms = std::move(histograms);
                                               one_came();
                                             });
  service.spored.Ask<v1::ListZygotesResponse>("spore.v1.Zygotes", "List", v1::ListZygotesRequest(),
                                              [answers, one_came](auto zygotes) {
                                                answers->zygotes = std::move(zygotes);
                                                one_came();
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
