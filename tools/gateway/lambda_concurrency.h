// Lambda's reserved and provisioned concurrency: at most and at least so many instances.
#pragma once

#include "tools/gateway/http_message.h"
#include "tools/gateway/service.h"

namespace spore::gateway {

void PutConcurrency(Service& service, const ExchangePtr& exchange, const RouteMatch& match);
void GetConcurrency(Service& service, const ExchangePtr& exchange, const RouteMatch& match);
void DeleteConcurrency(Service& service, const ExchangePtr& exchange, const RouteMatch& match);
void PutProvisioned(Service& service, const ExchangePtr& exchange, const RouteMatch& match);
void GetProvisioned(Service& service, const ExchangePtr& exchange, const RouteMatch& match);
void DeleteProvisioned(Service& service, const ExchangePtr& exchange, const RouteMatch& match);

}  // namespace spore::gateway
