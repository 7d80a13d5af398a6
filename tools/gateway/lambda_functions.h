// Lambda's management of functions: create, update, get, list, delete.
#pragma once

#include "tools/gateway/http_message.h"
#include "tools/gateway/service.h"

namespace spore::gateway {

void CreateFunction(Service& service, const ExchangePtr& exchange, const RouteMatch& match);
void UpdateFunctionCode(Service& service, const ExchangePtr& exchange, const RouteMatch& match);
void UpdateFunctionConfiguration(Service& service, const ExchangePtr& exchange,
                                 const RouteMatch& match);
void GetFunction(Service& service, const ExchangePtr& exchange, const RouteMatch& match);
void GetFunctionConfiguration(Service& service, const ExchangePtr& exchange,
                              const RouteMatch& match);
void ListFunctions(Service& service, const ExchangePtr& exchange, const RouteMatch& match);
void DeleteFunction(Service& service, const ExchangePtr& exchange, const RouteMatch& match);

}  // namespace spore::gateway
