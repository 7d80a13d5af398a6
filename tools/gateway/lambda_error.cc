#include "tools/gateway/lambda_error.h"

#include <nlohmann/json.hpp>

#include "tools/gateway/lambda_name.h"

namespace spore::gateway {
namespace {

HttpResponse Make(int status, std::string_view type, nlohmann::json body) {
  HttpResponse response;
  response.status = status;
  response.headers = {{"Content-Type", "application/json"},
                      {"x-amzn-ErrorType", std::string(type)}};
  response.body = body.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  return response;
}

HttpResponse Unavailable(const std::string& message) {
  HttpResponse response = LambdaError(503, "ServiceUnavailableException", message);
  response.headers.push_back({"Retry-After", "1"});
  return response;
}

HttpResponse Throttled(const std::string& message, const std::string& function) {
  nlohmann::json body = {{"Type", "User"}, {"message", message}, {"Message", message}};
  // spored says "throttled: " when it is the function's own limit, and "overloaded: " else.
  const bool own =
      message.starts_with("throttled: ") || message.find("max_instances") != std::string::npos;
  body["Reason"] = own ? "ReservedFunctionConcurrentInvocationLimitExceeded"
                       : "ConcurrentInvocationLimitExceeded";
  if (function.empty()) body.erase("Reason");
  HttpResponse response = Make(429, "TooManyRequestsException", body);
  response.headers.push_back({"Retry-After", "1"});
  return response;
}

}  // namespace

HttpResponse LambdaError(int status, std::string_view type, const std::string& message) {
  // boto3 looks for "message" or "Message", depending on the service's age: both.
  return Make(
      status, type,
      {{"Type", status >= 500 ? "Service" : "User"}, {"Message", message}, {"message", message}});
}

HttpResponse InvalidParameter(const std::string& message) {
  return LambdaError(400, "InvalidParameterValueException", message);
}

HttpResponse NotSupported(const std::string& message) {
  return LambdaError(501, "NotImplementedException", message);
}

// Of what a change was made for, or what stands in its way.
static HttpResponse NotAsExpected(const std::string& message) {
  const bool changed = message.find("revision_id: ") != std::string::npos ||
                       message.find("code_digest: ") != std::string::npos;
  if (changed) return LambdaError(412, "PreconditionFailedException", message);
  const bool named = message.find("is named by the aliases") != std::string::npos;
  if (named) return LambdaError(409, "ResourceConflictException", message);
  return LambdaError(502, "InvalidRuntimeException", message);
}

HttpResponse FunctionNotFound(const std::string& name) {
  return LambdaError(404, "ResourceNotFoundException", "Function not found: " + FunctionArn(name));
}

HttpResponse ErrorOf(const client::Error& error, const std::string& function) {
  switch (error.kind) {
    case client::ErrorKind::kUnreachable:
    case client::ErrorKind::kLost:
      return Unavailable("spored does not answer: " + error.message);
    case client::ErrorKind::kLocal:
      return LambdaError(500, "ServiceException", error.message);
    case client::ErrorKind::kRefused:
      break;
  }
  switch (error.code) {
    case client::kNotFound:
      // Else it is a runtime or an image that a description names.
      if (!function.empty() && !error.message.starts_with("no function") &&
          !error.message.starts_with("function "))
        return InvalidParameter(error.message);
      if (!function.empty()) return FunctionNotFound(function);
      return LambdaError(404, "ResourceNotFoundException", error.message);
    case client::kAlreadyExists:
      return LambdaError(409, "ResourceConflictException", "Function already exist: " + function);
    case client::kPermissionDenied:
      return LambdaError(403, "AccessDeniedException", error.message);
    case client::kInvalidArgument:
      return InvalidParameter(error.message);
    case client::kResourceExhausted:
      return Throttled(error.message, function);
    case client::kFailedPrecondition:
      return NotAsExpected(error.message);
    case client::kUnimplemented:
      return NotSupported(error.message);
    case client::kUnavailable:
      return Unavailable(error.message);
    default:
      return LambdaError(500, "ServiceException", error.message);
  }
}

}  // namespace spore::gateway
