// One call of spored for one request.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <utility>

#include "tools/gateway/http_message.h"
#include "tools/gateway/lambda_error.h"
#include "tools/gateway/service.h"

namespace spore::gateway {

// Asks, and answers with what `answer` makes of the reply. `about`: the function, NAME or
// NAME:QUALIFIER, for the words of an error.
template <typename Response>
void Relay(Service& service, const ExchangePtr& exchange, std::string_view rpc_service,
           std::string_view method, const google::protobuf::MessageLite& request, std::string about,
           std::function<HttpResponse(const Response&)> answer) {
  service.spored.Ask<Response>(
      rpc_service, method, request,
      [exchange, about = std::move(about),
       answer = std::move(answer)](client::Result<Response> response) {
        exchange->Respond(response ? answer(*response) : ErrorOf(response.error(), about));
      });
}

constexpr std::string_view kFunctions = "spore.v1.Functions";
constexpr std::string_view kVersions = "spore.v1.Versions";

}  // namespace spore::gateway
