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

void Work(const Request& request, unsigned count, Share& share) {
  for (unsigned i = 0; i < count; ++i) {
    auto us = request();
    if (us) {
      share.latency.Add(*us);
    } else if (share.failures++ == 0) {
      share.first_failure = us.error().message;
    }
  }
}

}  // namespace

ConcurrentReport MeasureConcurrent(const std::string& what, const std::vector<Request>& clients,
                                   unsigned requests_each) {
  std::vector<Share> shares(clients.size());
  std::vector<std::thread> threads;
  const Stopwatch watch;
  for (std::size_t i = 0; i < clients.size(); ++i) {
    threads.emplace_back([&request = clients[i], requests_each, &share = shares[i]] {
      Work(request, requests_each, share);
    });
  }
  for (std::thread& thread : threads) thread.join();
  const double seconds = watch.Us() / 1e6;

  ConcurrentReport report;
  report.what = what;
  report.clients = static_cast<unsigned>(clients.size());
  for (const Share& share : shares) {
    report.latency.Add(share.latency);
    report.failures += share.failures;
    if (report.first_failure.empty()) report.first_failure = share.first_failure;
  }
  report.per_second = static_cast<double>(report.latency.count()) / seconds;
  return report;
}

client::Result<ConcurrentReport> MeasureFresh(const std::string& socket, const std::string& fresh,
                                              unsigned clients, unsigned requests_each) {
  std::vector<client::Connection> connections;
  for (unsigned i = 0; i < clients; ++i) {
    auto connection = client::Connection::Open(socket);
    if (!connection) return tl::unexpected(connection.error());
    connections.push_back(std::move(*connection));
  }
  std::vector<Request> requests;
  for (client::Connection& connection : connections) {
    requests.emplace_back(
        [&connection, &fresh] { return TimeInvoke(connection, fresh, "1", v1::START_KIND_FORK); });
  }
  return MeasureConcurrent("Spore: fresh sandbox", requests, requests_each);
}

}  // namespace spore::bench
