// Lambda's Invoke: POST /2015-03-31/functions/NAME/invocations.
#pragma once

#include <functional>
#include <string>

#include "spore/v1/spore.pb.h"
#include "tools/gateway/http_message.h"
#include "tools/gateway/service.h"

namespace spore::gateway {

void Invoke(Service& service, const ExchangePtr& exchange, const RouteMatch& match);

// 413, in the words for an event of more than `limit` bytes.
HttpResponse PayloadTooLarge(std::size_t limit);

// A function's answer: the response with its payload in place, wherever it came.
using OnInvoked = std::function<void(client::Result<v1::InvokeResponse>)>;
// One invocation, ended if the client of `exchange` goes away. `payload` is JSON or empty.
void CallFunction(Service& service, const ExchangePtr& exchange, v1::InvokeRequest request,
                  std::string payload, OnInvoked on_invoked);

// {"errorMessage", "errorType", "requestId", "stackTrace"}.
std::string FunctionErrorJson(const v1::FunctionError& error, const std::string& request_id);

}  // namespace spore::gateway
