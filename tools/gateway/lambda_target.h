// The function that a request is about.
#pragma once

#include "tools/gateway/lambda_name.h"
#include "tools/gateway/lambda_settings.h"
#include "tools/gateway/service.h"

namespace spore::gateway {

// From the path's first free part and the query's Qualifier, which must not contradict each other.
Checked<FunctionName> ReadTarget(const HttpRequest& request, const RouteMatch& match);

}  // namespace spore::gateway
