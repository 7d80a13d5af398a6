// The function that a request is about.
#pragma once

#include "tools/gateway/lambda_name.h"
#include "tools/gateway/lambda_settings.h"
#include "tools/gateway/service.h"

namespace spore::gateway {

constexpr uint32_t kPageItems = 50;  // Lambda's, whatever MaxItems asks for beyond

// From the path's first free part and the query's Qualifier, which must not contradict each other.
Checked<FunctionName> ReadTarget(const HttpRequest& request, const RouteMatch& match);
// The same where a version or alias makes no sense.
Checked<FunctionName> ReadWorkingCopy(const HttpRequest& request, const RouteMatch& match);

// NAME or NAME:QUALIFIER.
std::string Qualified(const FunctionName& target);

// The query's MaxItems: 1 to kPageItems.
Checked<uint32_t> ReadMaxItems(const HttpRequest& request);

}  // namespace spore::gateway
