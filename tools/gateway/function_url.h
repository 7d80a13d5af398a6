// Functions as web pages: any method on /fn/NAME/.., as Lambda's function URLs (payload
// format 2.0).
//
// What a function answers is a tenant's and is shown in somebody's browser beside the gateway's own
// paths: it is sent with "Content-Security-Policy: sandbox", so that scripts in it have an origin
// that is nobody's and cannot ask the gateway for anything in the name of who looks at them.
#pragma once

#include <optional>
#include <string>

#include "tools/gateway/http_message.h"
#include "tools/gateway/service.h"

namespace spore::gateway {

void CallUrl(Service& service, const ExchangePtr& exchange, const RouteMatch& match);

// The event for a request; `authorization`: whether the function may see that header.
std::string UrlEvent(const HttpRequest& request, const std::string& function,
                     const std::string& request_id, bool authorization, int64_t unix_ms);
// What a function's result is as an answer; nothing when it cannot be one.
std::optional<HttpResponse> UrlResponse(std::string_view result);

}  // namespace spore::gateway
