// /metrics (OpenMetrics 1.0) and /healthz.
#pragma once

#include "tools/gateway/http_message.h"
#include "tools/gateway/service.h"

namespace spore::gateway {

void Metrics(Service& service, const ExchangePtr& exchange, const RouteMatch& match);
void Health(Service& service, const ExchangePtr& exchange, const RouteMatch& match);

}  // namespace spore::gateway
