// Errors in AWS Lambda's shapes.
#pragma once

#include <string>
#include <string_view>

#include "tools/client/error.h"
#include "tools/gateway/http_message.h"

namespace spore::gateway {

// Status, the header x-amzn-ErrorType, and {"Type": "User" or "Service", "Message": ..}.
HttpResponse LambdaError(int status, std::string_view type, const std::string& message);

HttpResponse InvalidParameter(const std::string& message);
HttpResponse NotSupported(const std::string& message);  // 501
HttpResponse FunctionNotFound(const std::string& name);

// What a refusal of spored's, or its absence, is in Lambda's words. `function`: what was asked for,
// NAME or NAME:QUALIFIER.
HttpResponse ErrorOf(const client::Error& error, const std::string& function);

}  // namespace spore::gateway
