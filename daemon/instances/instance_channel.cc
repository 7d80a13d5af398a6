#include "daemon/instances/instance_channel.h"

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>

#include "daemon/functions/function_facts.h"
#include "zygote/session_protocol.h"

namespace spore {
namespace {

using nlohmann::json;
using wire::FrameType;

constexpr size_t kMaxStackLines = 256;
// A body is reserved up to here at once; beyond, memory follows what has really arrived.
constexpr size_t kReserve = 64u << 10;

std::string BuildFrame(FrameType type, uint64_t id, std::string_view head, std::string_view body) {
  const wire::FrameHeader header{type, static_cast<uint32_t>(head.size() + body.size()), id};
  std::string frame;
  frame.reserve(sizeof header + head.size() + body.size());
  frame.append(reinterpret_cast<const char*>(&header), sizeof header);
  frame.append(head);
  frame.append(body);
  return frame;
}

// dump() throws on text that is not UTF-8 unless told to replace it.
std::string Dump(const json& value) {
  return value.dump(-1, ' ', false, json::error_handler_t::replace);
}

using Variables = std::map<std::string, std::string>;

Variables Environment(const std::map<std::string, std::string>& image,
                      const google::protobuf::Map<std::string, std::string>& own) {
  Variables environment = image;
  for (const auto& [name, value] : own) environment[name] = value;
  return environment;
}

// A string member of an object; `fallback` when it is missing or of another type.
std::string StringMember(const json& object, const char* name, std::string_view fallback) {
  const auto found = object.find(name);
  if (found == object.end() || !found->is_string()) return std::string(fallback);
  return found->get<std::string>();
}

}  // namespace

FrameParser::Status FrameParser::CheckHeader() {
  uint64_t limit = 0;
  uint64_t least = 0;
  switch (header_.type) {
    case FrameType::kConfined:
      limit = least = sizeof(wire::Confined);
      break;
    case FrameType::kLoaded:
      limit = kMaxLoadedBody;
      break;
    case FrameType::kFailed:
    case FrameType::kFatal:
      limit = kMaxFailedBody;
      break;
    case FrameType::kCompiled:
      limit = kMaxCompiledBody;
      break;
    case FrameType::kTell:
    case FrameType::kEvent:
      limit = session::kMaxBody;
      break;
    case FrameType::kResponse:
      if (header_.length > response_bytes_) return Status::kResponseTooLarge;
      limit = response_bytes_;
      break;
    case FrameType::kLoad:
    case FrameType::kInvoke:
    default:
      problem_ = "a frame of unknown type " + std::to_string(static_cast<uint32_t>(header_.type));
      return Status::kRubbish;
  }
  if (header_.length < least || header_.length > limit || header_.length > wire::kMaxFrame) {
    problem_ = "a frame of type " + std::to_string(static_cast<uint32_t>(header_.type)) +
               " with a length of " + std::to_string(header_.length);
    return Status::kRubbish;
  }
  return Status::kOk;
}

FrameParser::Status FrameParser::Feed(std::span<const std::byte> data,
                                      const std::function<bool(Frame&)>& take) {
  while (!data.empty()) {
    if (header_size_ < sizeof header_bytes_) {
      const size_t part = std::min(sizeof header_bytes_ - header_size_, data.size());
      memcpy(header_bytes_ + header_size_, data.data(), part);
      header_size_ += part;
      data = data.subspan(part);
      if (header_size_ < sizeof header_bytes_) return Status::kOk;
      memcpy(&header_, header_bytes_, sizeof header_);
      if (const Status status = CheckHeader(); status != Status::kOk) return status;
      body_.clear();
      body_.reserve(std::min<size_t>(header_.length, kReserve));
    }
    const size_t part = std::min(header_.length - body_.size(), data.size());
    body_.append(reinterpret_cast<const char*>(data.data()), part);
    data = data.subspan(part);
    if (body_.size() < header_.length) return Status::kOk;
    Frame frame{header_.type, header_.id, std::move(body_)};
    body_ = {};
    header_size_ = 0;
    if (!take(frame)) return Status::kOk;
  }
  return Status::kOk;
}

Result<wire::Confined> ParseConfined(std::string_view body) {
  wire::Confined confined;
  if (body.size() != sizeof confined) return MakeError(ErrorKind::kInvalid, "a cut frame");
  memcpy(static_cast<void*>(&confined), body.data(), sizeof confined);
  confined.failure.operation[sizeof confined.failure.operation - 1] = 0;
  confined.steps.count = std::min<uint32_t>(confined.steps.count, wire::Steps::kMaxSteps);
  for (auto& step : confined.steps.step) step.name[sizeof step.name - 1] = 0;
  return confined;
}

Result<LoadTimes> ParseLoaded(std::string_view body) {
  const json value = json::parse(body, nullptr, false);
  if (!value.is_object()) return MakeError(ErrorKind::kInvalid, "not a JSON object");
  LoadTimes times;
  for (const auto& [name, time] :
       {std::pair{"began_us", &times.began_ns}, std::pair{"ended_us", &times.ended_ns}}) {
    const auto found = value.find(name);
    if (found == value.end() || !found->is_number_unsigned())
      return MakeError(ErrorKind::kInvalid, std::string(name) + " is not a number");
    *time = std::min(found->get<uint64_t>(), UINT64_MAX / 1000) * 1000;
  }
  const auto imported = value.find("imported");
  if (imported == value.end()) return times;
  if (!imported->is_array()) return MakeError(ErrorKind::kInvalid, "imported is no list");
  times.imported.emplace();
  for (const json& name : *imported) {
    if (!name.is_string()) return MakeError(ErrorKind::kInvalid, "imported has more than names");
    times.imported->push_back(name.get<std::string>());
  }
  return times;
}

Result<v1::FunctionError> ParseFailed(std::string_view body) {
  // parse() without exceptions also refuses text that is not UTF-8, which protobuf strings need.
  const json value = json::parse(body, nullptr, false);
  v1::FunctionError error;
  if (value.is_discarded()) {
    // A message that UTF-8 cannot hold (a lone surrogate) is no reason to end the instance.
    error.set_type("Error");
    error.set_message("the function failed with an error that is not valid UTF-8 JSON");
    return error;
  }
  if (!value.is_object()) return MakeError(ErrorKind::kInvalid, "not a JSON object");
  error.set_type(StringMember(value, "errorType", "Error"));
  error.set_message(StringMember(value, "errorMessage", ""));
  const auto stack = value.find("stackTrace");
  if (stack == value.end() || !stack->is_array()) return error;
  for (const json& line : *stack) {
    if (static_cast<size_t>(error.stack_trace_size()) == kMaxStackLines) break;
    if (line.is_string()) error.add_stack_trace(line.get<std::string>());
  }
  return error;
}

std::string CodeFrame(std::string_view compiled) {
  return BuildFrame(FrameType::kCode, 0, {}, compiled);
}

std::string LoadFunctionFrame(const v1::Function& function,
                              const std::map<std::string, std::string>& image_environment,
                              const LambdaInstance& instance, const LoadWishes& wishes) {
  const v1::FunctionSettings& settings = function.settings();
  Variables environment = Environment(image_environment, settings.environment());
  SetLambdaEnvironment(function, instance, environment);
  json load{
      {"mode", "function"},
      {"handler", settings.handler()},
      {"function_name", function.name()},
      {"function_version", VersionLabel(function)},
      {"memory_limit_in_mb", std::to_string(settings.limits().memory_bytes() >> 20)},
      {"response_bytes", settings.limits().response_bytes()},
      {"environment", environment},
  };
  if (wishes.compile) load["compile"] = true;
  if (!wishes.watch.empty()) load["watch"] = wishes.watch;
  if (wishes.measure) load["measure"] = true;
  return BuildFrame(FrameType::kLoad, 0, Dump(load), {});
}

Result<std::string> LoadScriptFrame(const v1::RunRequest& run, const std::string& archive,
                                    const std::map<std::string, std::string>& image_environment) {
  json argv = json::array();
  for (const std::string& argument : run.args()) argv.push_back(argument);
  if (argv.empty()) argv.push_back("script.py");
  json load{
      {"mode", "script"},
      {"argv", argv},
      {"memory_limit_in_mb", std::to_string(run.limits().memory_bytes() >> 20)},
      {"environment", Environment(image_environment, run.environment())},
  };
  if (archive.empty()) {
    load["script"] = run.script();
  } else {
    load["archive"] = archive;
  }
  try {
    return BuildFrame(FrameType::kLoad, 0, load.dump(), {});
  } catch (const json::exception&) {
    return MakeError(ErrorKind::kInvalid, "script: not UTF-8 text");
  }
}

std::string LoadProgramFrame(const v1::RunRequest& run, const std::string& path,
                             const std::map<std::string, std::string>& image_environment) {
  json argv = json::array();
  for (const std::string& argument : run.args()) argv.push_back(argument);
  const json load{
      {"mode", "program"},
      {"argv", argv},
      {"program", path},
      {"environment", Environment(image_environment, run.environment())},
  };
  // Protobuf strings, so UTF-8.
  return BuildFrame(FrameType::kLoad, 0, Dump(load), {});
}

Result<std::string> InvokeFrame(uint64_t id, const InvokeMeta& meta, std::string_view payload) {
  std::string text = "{\"request_id\":" + Dump(meta.request_id) +
                     ",\"deadline_ms\":" + std::to_string(meta.deadline_unix_ms) +
                     ",\"arn\":" + Dump(meta.arn) + "}";
  if (!meta.client_context.empty()) {
    // Checked and put in as it is: writing a parsed value again recurses as deep as it is nested.
    if (!json::accept(meta.client_context)) {
      return MakeError(ErrorKind::kInvalid, "client_context: not JSON");
    }
    text.pop_back();
    text += ",\"client_context\":";
    text += meta.client_context;
    text += '}';
  }
  const auto length = static_cast<uint32_t>(text.size());
  std::string head(reinterpret_cast<const char*>(&length), sizeof length);
  head += text;
  return BuildFrame(FrameType::kInvoke, id, head, payload);
}

}  // namespace spore
