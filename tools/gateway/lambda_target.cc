#include "tools/gateway/lambda_target.h"

#include "tools/gateway/lambda_error.h"

namespace spore::gateway {

Checked<FunctionName> ReadTarget(const HttpRequest& request, const RouteMatch& match) {
  auto target = ParseFunctionName(match.parts.at(0));
  if (!target) {
    return tl::unexpected(InvalidParameter("FunctionName: \"" + match.parts.at(0).substr(0, 80) +
                                           "\" is no function's name or ARN"));
  }
  const std::string qualifier = QueryValue(request, "Qualifier");
  if (!qualifier.empty()) {
    if (!target->qualifier.empty() && target->qualifier != qualifier) {
      return tl::unexpected(InvalidParameter("Qualifier: \"" + qualifier.substr(0, 80) +
                                             "\" contradicts the function's name"));
    }
    target->qualifier = qualifier;
  }
  if (!target->qualifier.empty() && target->qualifier != "$LATEST") {
    return tl::unexpected(LambdaError(
        404, "ResourceNotFoundException",
        "Function not found: " + FunctionArn(target->name, target->qualifier.substr(0, 140))));
  }
  return std::move(*target);
}

}  // namespace spore::gateway
