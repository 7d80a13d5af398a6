// What `spore mcp` offers to an agent: each tool's description, and how a call of it becomes a call
// of spored's and its answer a result.
#pragma once

#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "spore/v1/sandboxes.pb.h"

namespace spore::cli {

using Json = nlohmann::ordered_json;

// A call that carries out a tool.
struct ToolCall {
  std::string method;
  std::unique_ptr<google::protobuf::MessageLite> request;
  // The tool's result ("content", "isError", ..) from the response message's bytes.
  std::function<Json(const std::string& payload)> finish;
  // The sandboxes that it has made, by the same; none: it makes none.
  std::function<std::vector<std::string>(const std::string& payload)> made = {};
  std::string service = "spore.v1.Sandboxes";
};

struct Tool {
  std::string name;
  std::string description;
  Json input_schema;
  // The call for these arguments in the session `id`; else what is wrong with them.
  std::function<tl::expected<ToolCall, std::string>(const Json& arguments, const std::string& id)>
      prepare;
  bool in_sandbox = true;  // else `id` is empty, and none is made for it
};

// The argument, of all tools that work in one, that names a sandbox other than the first: one that
// `branch` or `restore` has made.
constexpr const char* kSandboxArgument = "sandbox";

// `language`: what run_code takes in this image; empty: it is not offered.
std::vector<Tool> SandboxTools(const std::string& language);

// A result of one text.
Json TextResult(const std::string& text, bool is_error);

}  // namespace spore::cli
