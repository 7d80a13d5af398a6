#include "tools/bench/bursts.h"

#include <algorithm>
#include <chrono>
#include <thread>

#include "tools/bench/target.h"
#include "tools/client/connection.h"

namespace spore::bench {
namespace {

using std::chrono::milliseconds;
constexpr milliseconds kPause{1000};
constexpr milliseconds kPoll{50};
constexpr int kPatience = 1200;  // polls: a minute

client::Result<> WaitForSpare(client::Connection& connection, unsigned wanted) {
  for (int i = 0; i < kPatience; ++i) {
    auto stats = connection.Call<v1::StatsResponse>("spore.v1.System", "Stats", v1::StatsRequest());
    if (!stats) return tl::unexpected(stats.error());
    if (stats->sandboxes_spare() >= wanted && stats->sandboxes_ready() > 0) return {};
    std::this_thread::sleep_for(kPoll);
  }
  return client::LocalError("the daemon does not make as many spare sandboxes as it was told to");
}

client::Result<BurstReport> MeasureOne(std::vector<client::Connection>& connections,
                                       const std::string& function, unsigned at_once,
                                       unsigned bursts) {
  std::vector<Request> requests;
  for (unsigned i = 0; i < at_once; ++i) {
    requests.emplace_back([&connection = connections[i], &function] {
      return TimeInvoke(connection, function, "1", v1::START_KIND_FORK);
    });
  }
  BurstReport report{.at_once = at_once, .bursts = bursts};
  for (unsigned i = 0; i < bursts; ++i) {
    std::this_thread::sleep_for(kPause);
    const ConcurrentReport one = MeasureConcurrent("burst", requests, 1);
    report.all.latency.Add(one.latency);
    report.all.failures += one.failures;
    if (report.all.first_failure.empty()) report.all.first_failure = one.first_failure;
  }
  return report;
}

}  // namespace

client::Result<std::vector<BurstReport>> MeasureBursts(const std::string& spored,
                                                       const std::string& images,
                                                       const std::vector<unsigned>& sizes,
                                                       unsigned bursts) {
  std::vector<BurstReport> reports;
  const unsigned largest = *std::max_element(sizes.begin(), sizes.end());
  for (const unsigned spare : {0u, largest}) {
    auto daemon =
        PrivateDaemon::Start(spored, images, "spare-sandboxes = " + std::to_string(spare) + "\n");
    if (!daemon) return tl::unexpected(daemon.error());
    auto functions = Functions::Deploy(daemon->socket());
    if (!functions) return tl::unexpected(functions.error());
    std::vector<client::Connection> connections;
    for (unsigned i = 0; i < largest; ++i) {
      auto connection = client::Connection::Open(daemon->socket());
      if (!connection) return tl::unexpected(connection.error());
      connections.push_back(std::move(*connection));
    }
    auto first =
        TimeInvoke(connections.front(), functions->fresh(), "1", v1::START_KIND_UNSPECIFIED);
    if (!first) return tl::unexpected(first.error());
    auto there = WaitForSpare(connections.front(), spare);
    if (!there) return tl::unexpected(there.error());
    for (const unsigned at_once : sizes) {
      auto report = MeasureOne(connections, functions->fresh(), at_once, bursts);
      if (!report) return tl::unexpected(report.error());
      report->spare = spare;
      reports.push_back(std::move(*report));
    }
  }
  return reports;
}

}  // namespace spore::bench
