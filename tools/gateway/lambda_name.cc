#include "tools/gateway/lambda_name.h"

#include <algorithm>
#include <cctype>

#include "tools/gateway/text.h"

namespace spore::gateway {
namespace {

bool IsName(std::string_view text) {
  return !text.empty() && text.size() <= 140 && std::all_of(text.begin(), text.end(), [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '_';
  });
}

}  // namespace

std::optional<FunctionName> ParseFunctionName(std::string_view text) {
  auto parts = Split(text, ':');
  if (parts.size() >= 7 && parts[0] == "arn" && parts[2] == "lambda" && parts[5] == "function") {
    parts.erase(parts.begin(), parts.begin() + 6);
  } else if (parts.size() >= 3 && parts[1] == "function") {
    parts.erase(parts.begin(), parts.begin() + 2);
  } else if (parts.size() >= 2 && parts[0] == "function") {
    parts.erase(parts.begin());
  }
  if (parts.empty() || parts.size() > 2 || !IsName(parts[0])) return std::nullopt;
  FunctionName name{std::string(parts[0]), {}};
  if (parts.size() == 2) {
    if (parts[1] != "$LATEST" && !IsName(parts[1])) return std::nullopt;
    name.qualifier = parts[1];
  }
  return name;
}

std::string FunctionArn(std::string_view name, std::string_view qualifier) {
  std::string arn = "arn:aws:lambda:";
  arn.append(kRegion).append(":").append(kAccount).append(":function:").append(name);
  if (!qualifier.empty()) arn.append(":").append(qualifier);
  return arn;
}

}  // namespace spore::gateway
