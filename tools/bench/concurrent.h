// Many clients at once, each with a connection of its own, each request in a fresh sandbox.
#pragma once

#include <string>

#include "tools/bench/samples.h"
#include "tools/client/error.h"

namespace spore::bench {

struct ConcurrentReport {
  unsigned clients = 0;
  Samples latency;  // of the requests that were answered
  double per_second = 0;
  unsigned failures = 0;
  std::string first_failure;
};

client::Result<ConcurrentReport> MeasureConcurrent(const std::string& socket,
                                                   const std::string& fresh, unsigned clients,
                                                   unsigned requests_each);

}  // namespace spore::bench
