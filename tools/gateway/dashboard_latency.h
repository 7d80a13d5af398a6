// How long calls took, for the dashboard: histograms in fewer and even bins, and what is read off
// them.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "spore/v1/observability.pb.h"

namespace spore::gateway {

nlohmann::json LatencyJson(const v1::HistogramsResponse& response);
// The duration that `fraction` (0 to 1) of what was counted did not exceed, as its bucket tells; 0
// when there is nothing.
uint64_t PercentileUs(const v1::Histogram& histogram, double fraction);

}  // namespace spore::gateway
