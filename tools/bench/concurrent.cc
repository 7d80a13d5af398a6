#include "tools/bench/concurrent.h"

#include <thread>
#include <vector>

#include "tools/bench/target.h"
#include "tools/client/connection.h"

namespace spore::bench {
namespace {

struct Share {
  Samples latency;
  unsigned failures = 0;
  std::string first_failure;
};

void Work(client::Connection& connection, const std::string& fresh, unsigned requests,
          Share& share) {
  for (unsigned i = 0; i < requests; ++i) {
    auto us = TimeInvoke(connection, fresh, "1", v1::START_KIND_FORK);
    if (us) {
      share.latency.Add(*us);
    } else if (share.failures++ == 0) {
      share.first_failure = us.error().message;
    }
  }
}

}  // namespace

client::Result<ConcurrentReport> MeasureConcurrent(const std::string& socket,
                                                   const std::string& fresh, unsigned clients,
                                                   unsigned requests_each) {
  std::vector<client::Connection> connections;
  for (unsigned i = 0; i < clients; ++i) {
    auto connection = client::Connection::Open(socket);
    if (!connection) return tl::unexpected(connection.error());
    connections.push_back(std::move(*connection));
  }
  std::vector<Share> shares(clients);
  std::vector<std::thread> threads;
  const Stopwatch watch;
  for (unsigned i = 0; i < clients; ++i) {
    threads.emplace_back([&connection = connections[i], &fresh, requests_each, &share = shares[i]] {
      Work(connection, fresh, requests_each, share);
    });
  }
  for (std::thread& thread : threads) thread.join();
  const double seconds = watch.Us() / 1e6;

  ConcurrentReport report;
  report.clients = clients;
  for (const Share& share : shares) {
    report.latency.Add(share.latency);
    report.failures += share.failures;
    if (report.first_failure.empty()) report.first_failure = share.first_failure;
  }
  report.per_second = static_cast<double>(report.latency.count()) / seconds;
  return report;
}

}  // namespace spore::bench
