#include "tools/gateway/dashboard_state.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>

#include "tools/client/start_kind.h"
#include "tools/gateway/dashboard_errors.h"
#include "tools/gateway/dashboard_latency.h"

namespace spore::gateway {
namespace {

using nlohmann::json;

constexpr std::size_t kMostFunctions = 300;
constexpr std::size_t kMostZygotes = 200;
constexpr std::size_t kMostText = 500;
constexpr std::size_t kMostProblems = 20;

const char* StateName(v1::Zygote::State state) {
  switch (state) {
    case v1::Zygote::STARTING:
      return "starting";
    case v1::Zygote::READY:
      return "ready";
    case v1::Zygote::DRAINING:
      return "draining";
    case v1::Zygote::ABSENT:
      return "absent";
    default:
      return "unknown";
  }
}

// What the instances of one function are and hold, together.
struct Use {
  uint32_t starting = 0;
  uint32_t idle = 0;
  uint32_t busy = 0;
  uint64_t memory_bytes = 0;
  uint64_t cpu_us = 0;
  uint32_t processes = 0;

  void Add(const v1::Instance& instance) {
    if (instance.state() == v1::Instance::STARTING) ++starting;
    if (instance.state() == v1::Instance::IDLE) ++idle;
    if (instance.state() == v1::Instance::BUSY) ++busy;
    memory_bytes += instance.memory_bytes();
    cpu_us += instance.cpu_us();
    processes += instance.pids();
  }
  uint32_t live() const { return starting + idle + busy; }
  json ToJson() const {
    return {{"starting", starting},         {"idle", idle},     {"busy", busy},
            {"memory_bytes", memory_bytes}, {"cpu_us", cpu_us}, {"processes", processes}};
  }
};

json Totals(const v1::StatsResponse& stats) {
  return {{"invocations", stats.invocations()},
          {"errors", stats.invocation_errors()},
          {"runs", stats.runs()},
          {"overloaded", stats.overloaded()},
          {"starts", stats.starts()},
          {"deaths", stats.deaths()},
          {"loaded_ahead", stats.loaded_ahead()},
          {"instances_live", stats.instances_live()},
          {"instances_idle", stats.instances_idle()},
          {"queued", stats.queued()},
          {"sandboxes_ready", stats.sandboxes_ready()},
          {"sandboxes_spare", stats.sandboxes_spare()},
          {"latency_p50_us", stats.latency_p50_us()},
          {"latency_p99_us", stats.latency_p99_us()},
          {"functions", stats.functions()}};
}

json Daemon(const DashboardFacts& facts) {
  json daemon = {{"up", true},
                 {"uptime_ms", facts.stats->uptime_ms()},
                 {"memory_bytes", facts.stats->daemon_memory_bytes()}};
  if (facts.info) {
    daemon["version"] = facts.info->version();
    daemon["cgroup_layout"] = facts.info->cgroup_layout();
  }
  return daemon;
}

json Http(const HttpCounters& http) {
  return {{"connections", http.connections},
          {"requests", http.requests},
          {"in_progress", http.in_progress},
          {"server_errors", http.by_class[5]}};
}

json FunctionJson(const v1::Function& function, const Use& use) {
  const v1::FunctionSettings& settings = function.settings();
  return {{"name", function.name()},
          {"version", function.version()},
          {"runtime", settings.runtime()},
          {"image", settings.image()},
          {"handler", Shortened(settings.handler(), kMostText)},
          {"description", Shortened(settings.description(), kMostText)},
          {"fresh", settings.isolation() == v1::ISOLATION_INVOCATION},
          {"min_instances", settings.min_instances()},
          {"max_instances", settings.limits().max_instances()},
          {"memory_limit_bytes", settings.limits().memory_bytes()},
          {"owner_uid", function.owner_uid()},
          {"use", use.ToJson()}};
}

// The functions that do most, and of the rest the number; what no function accounts for apart.
void AddFunctions(const DashboardFacts& facts, json& out) {
  std::map<std::string, Use> uses;
  if (facts.instances) {
    for (const v1::Instance& instance : facts.instances->instances())
      uses[instance.function()].Add(instance);
  }
  out["runs"] = uses[""].ToJson();
  if (!facts.functions) return;
  std::vector<std::pair<const v1::Function*, Use>> functions;
  for (const v1::Function& function : facts.functions->functions())
    functions.emplace_back(&function, uses[function.name()]);
  std::stable_sort(functions.begin(), functions.end(), [](const auto& one, const auto& other) {
    return std::pair(one.second.busy, one.second.live()) >
           std::pair(other.second.busy, other.second.live());
  });
  const std::size_t shown = std::min(functions.size(), kMostFunctions);
  json list = json::array();
  for (std::size_t i = 0; i < shown; ++i)
    list.push_back(FunctionJson(*functions[i].first, functions[i].second));
  out["functions"] = std::move(list);
  out["functions_left_out"] = functions.size() - shown;
  out["functions_more"] = !facts.functions->next_marker().empty();
}

void AddZygotes(const v1::ListZygotesResponse& zygotes, json& out) {
  json list = json::array();
  for (const v1::Zygote& zygote : zygotes.zygotes()) {
    if (list.size() == kMostZygotes) break;
    list.push_back({{"image", zygote.image()},
                    {"generation", zygote.generation()},
                    {"set", zygote.set()},
                    {"parent", zygote.parent()},
                    {"state", StateName(zygote.state())},
                    {"reason", Shortened(zygote.reason(), kMostText)},
                    {"pid", zygote.pid()},
                    {"started_unix_ms", zygote.started_unix_ms()},
                    {"forks", zygote.forks()},
                    {"ready", zygote.sandboxes_ready()},
                    {"spare", zygote.sandboxes_spare()},
                    {"instances", zygote.instances()},
                    {"start_kind", client::StartName(zygote.start_kind())},
                    {"start_us", zygote.start_us()},
                    {"import_us", zygote.import_us()},
                    {"unique_bytes", zygote.unique_bytes()},
                    {"loaded_bytes", zygote.flat_bytes() + zygote.unmoved_bytes()},
                    {"memory_bytes", zygote.memory_bytes()}});
  }
  out["zygotes_left_out"] = static_cast<std::size_t>(zygotes.zygotes_size()) - list.size();
  out["zygotes"] = std::move(list);
}

void AddFailedImages(const v1::InfoResponse& info, json& out) {
  json list = json::array();
  for (const v1::Image& image : info.images()) {
    if (image.state() != v1::Image::FAILED || list.size() == kMostProblems) continue;
    list.push_back({{"name", image.name()}, {"reason", Shortened(image.reason(), kMostText)}});
  }
  out["failed_images"] = std::move(list);
}

json Sessions(const v1::ListSandboxesResponse& sandboxes) {
  uint32_t running = 0, paused = 0;
  uint64_t memory = 0;
  for (const v1::Session& session : sandboxes.sessions()) {
    if (session.state() == v1::Session::DEAD) continue;
    ++(session.state() == v1::Session::PAUSED ? paused : running);
    memory += session.memory_bytes();
  }
  return {{"running", running}, {"paused", paused}, {"memory_bytes", memory}};
}

json Events(const v1::AsyncStatsResponse& events) {
  return {{"accepted", events.accepted()}, {"done", events.done()},
          {"failed", events.failed()},     {"retried", events.retried()},
          {"waiting", events.waiting()},   {"running", events.running()},
          {"dead", events.dead()}};
}

// A message's strings are UTF-8; whatever is not is replaced, not thrown over.
std::string Dump(const json& value) {
  return value.dump(-1, ' ', false, json::error_handler_t::replace);
}

}  // namespace

std::string Shortened(const std::string& text, std::size_t most) {
  if (text.size() <= most) return text;
  std::size_t end = most;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;
  return text.substr(0, end) + "\u2026";
}

std::string DashboardJson(const DashboardFacts& facts, const DashboardErrors& errors,
                          const HttpCounters& http, int64_t now_unix_ms) {
  json out = {{"now_unix_ms", now_unix_ms},
              {"spored", Daemon(facts)},
              {"totals", Totals(*facts.stats)},
              {"gateway", Http(http)}};
  AddFunctions(facts, out);
  if (facts.zygotes) AddZygotes(*facts.zygotes, out);
  if (facts.info) AddFailedImages(*facts.info, out);
  if (facts.sandboxes) out["sessions"] = Sessions(*facts.sandboxes);
  if (facts.events) out["events"] = Events(*facts.events);
  if (facts.histograms) out["latency"] = LatencyJson(*facts.histograms);
  out["errors"] = errors.ToJson();
  out["problems"] = json::array();
  for (const std::string& problem : facts.problems)
    out["problems"].push_back(Shortened(problem, kMostText));
  return Dump(out);
}

std::string DashboardDownJson(int64_t since_unix_ms, const std::string& reason,
                              const HttpCounters& http, int64_t now_unix_ms) {
  return Dump({{"now_unix_ms", now_unix_ms},
               {"spored",
                {{"up", false},
                 {"since_unix_ms", since_unix_ms},
                 {"reason", Shortened(reason, kMostText)}}},
               {"gateway", Http(http)}});
}

}  // namespace spore::gateway
