// What the dashboard is told, as JSON. It has no more of a function than its page shows: no
// environment, no code, no tags.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "spore/v1/async.pb.h"
#include "spore/v1/observability.pb.h"
#include "spore/v1/sandboxes.pb.h"
#include "spore/v1/spore.pb.h"
#include "tools/gateway/http_connection.h"

namespace spore::gateway {

class DashboardErrors;

// Answers of spored; absent: it did not give that one.
struct DashboardFacts {
  std::optional<v1::InfoResponse> info;
  std::optional<v1::StatsResponse> stats;
  std::optional<v1::ListFunctionsResponse> functions;
  std::optional<v1::ListInstancesResponse> instances;
  std::optional<v1::ListZygotesResponse> zygotes;
  std::optional<v1::ListSandboxesResponse> sandboxes;
  std::optional<v1::AsyncStatsResponse> events;
  std::optional<v1::HistogramsResponse> histograms;
  std::vector<std::string> problems;  // why one is absent
};

// Bounded, whatever there is: what is left out is counted. Needs `stats`.
std::string DashboardJson(const DashboardFacts& facts, const DashboardErrors& errors,
                          const HttpCounters& http, int64_t now_unix_ms);
std::string DashboardDownJson(int64_t since_unix_ms, const std::string& reason,
                              const HttpCounters& http, int64_t now_unix_ms);

// At most `most` bytes of it, cut between characters.
std::string Shortened(const std::string& text, std::size_t most);

}  // namespace spore::gateway
