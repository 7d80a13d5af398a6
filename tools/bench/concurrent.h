// Many clients at once, none of which pauses.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "tools/bench/samples.h"
#include "tools/client/error.h"

namespace spore::bench {

struct ConcurrentReport {
  std::string what;
  unsigned clients = 0;
  Samples latency;  // of the requests that were answered
  double per_second = 0;
  unsigned failures = 0;
  std::string first_failure;
};

// A request, its time in microseconds. Each client is one of these, on a thread of its own.
using Request = std::function<client::Result<double>()>;
ConcurrentReport MeasureConcurrent(const std::string& what, const std::vector<Request>& clients,
                                   unsigned requests_each);

// Clients with a connection each, every request in a fresh sandbox.
client::Result<ConcurrentReport> MeasureFresh(const std::string& socket, const std::string& fresh,
                                              unsigned clients, unsigned requests_each);

}  // namespace spore::bench
