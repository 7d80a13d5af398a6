#include "tools/gateway/lambda_target.h"

#include <algorithm>
#include <optional>

#include "tools/gateway/lambda_error.h"
#include "tools/gateway/text.h"

namespace spore::gateway {

Checked<FunctionName> ReadTarget(const HttpRequest& request, const RouteMatch& match) {
  auto target = ParseFunctionName(match.parts.at(0));
  if (!target) {
    return tl::unexpected(InvalidParameter("FunctionName: \"" + match.parts.at(0).substr(0, 80) +
                                           "\" is no function's name or ARN"));
  }
  const std::string qualifier = QueryValue(request, "Qualifier");
  if (qualifier.empty()) return std::move(*target);
  if (!target->qualifier.empty() && target->qualifier != qualifier) {
    return tl::unexpected(InvalidParameter("Qualifier: \"" + qualifier.substr(0, 80) +
                                           "\" contradicts the function's name"));
  }
  target->qualifier = qualifier;
  return std::move(*target);
}

Checked<FunctionName> ReadWorkingCopy(const HttpRequest& request, const RouteMatch& match) {
  auto target = ReadTarget(request, match);
  if (!target || target->qualifier.empty() || target->qualifier == "$LATEST") return target;
  return tl::unexpected(InvalidParameter(
      "Qualifier: \"" + target->qualifier.substr(0, 80) +
      "\"; this operation is about $LATEST or the whole function, and takes none"));
}

std::string Qualified(const FunctionName& target) {
  return target.qualifier.empty() ? target.name
                                  : target.name + ":" + target.qualifier.substr(0, 140);
}

Checked<uint32_t> ReadMaxItems(const HttpRequest& request) {
  const std::string asked = QueryValue(request, "MaxItems");
  if (asked.empty()) return kPageItems;
  const std::optional<uint32_t> most = ParseNumber<uint32_t>(asked);
  if (most && *most >= 1 && *most <= 10000) return std::min(*most, kPageItems);
  return tl::unexpected(
      InvalidParameter("MaxItems: \"" + asked.substr(0, 80) + "\"; expected 1 to 10000"));
}

}  // namespace spore::gateway
