// Lambda's aliases: names for published versions.
#pragma once

#include "tools/gateway/http_message.h"
#include "tools/gateway/service.h"

namespace spore::gateway {

void CreateAlias(Service& service, const ExchangePtr& exchange, const RouteMatch& match);
void UpdateAlias(Service& service, const ExchangePtr& exchange, const RouteMatch& match);
void GetAlias(Service& service, const ExchangePtr& exchange, const RouteMatch& match);
void ListAliases(Service& service, const ExchangePtr& exchange, const RouteMatch& match);
void DeleteAlias(Service& service, const ExchangePtr& exchange, const RouteMatch& match);

}  // namespace spore::gateway
