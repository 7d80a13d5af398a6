// What the handlers of requests share.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tools/gateway/http_connection.h"
#include "tools/gateway/http_message.h"
#include "tools/gateway/spored_pool.h"

namespace spore::gateway {

class Dashboard;

struct GatewayLimits {
  std::size_t payload = 6u << 20;   // bytes of an event; spored may narrow it for a function
  std::size_t archive = 50u << 20;  // bytes of a function's zip file
};

struct Service {
  SporedPool& spored;
  GatewayLimits limits;
  bool guarded = false;           // the Authorization header is the gateway's own
  bool public_functions = false;  // function URLs are for everybody
  std::function<const HttpCounters&()> http;
  // What /healthz found out last: it is open to all, and asks spored no more often than this lasts.
  bool healthy = false;
  int64_t health_until_ms = 0;
  std::shared_ptr<Dashboard> dashboard;  // from its first request on
};

// What of a path is not fixed, decoded; and what was asked for in the query.
struct RouteMatch {
  std::vector<std::string> parts;
};

// The decoded value of a query's parameter; empty when it is not there.
std::string QueryValue(const HttpRequest& request, std::string_view name);

HttpResponse JsonResponse(int status, std::string body);

}  // namespace spore::gateway
