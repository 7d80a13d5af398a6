// How clients name a function: its name, an ARN, or a part of one.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace spore::gateway {

constexpr std::string_view kRegion = "us-east-1";
constexpr std::string_view kAccount = "000000000000";

struct FunctionName {
  std::string name;
  std::string qualifier;  // of the name, as in "name:1"; empty: none
};

// Takes NAME[:QUALIFIER], ACCOUNT:function:NAME[:QUALIFIER] and
// arn:PARTITION:lambda:REGION:ACCOUNT:function:NAME[:QUALIFIER]. Region and account are not looked
// at. Nothing when it is none of these; whether NAME can exist, spored says.
std::optional<FunctionName> ParseFunctionName(std::string_view text);

std::string FunctionArn(std::string_view name, std::string_view qualifier = {});

}  // namespace spore::gateway
