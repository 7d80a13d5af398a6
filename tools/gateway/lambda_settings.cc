#include "tools/gateway/lambda_settings.h"

#include <array>
#include <cctype>
#include <cmath>
#include <ctime>

#include "tools/gateway/bounded_json.h"
#include "tools/gateway/encoding.h"
#include "tools/gateway/lambda_error.h"
#include "tools/gateway/lambda_name.h"
#include "tools/gateway/service.h"

namespace spore::gateway {
namespace {

using Json = nlohmann::json;

tl::unexpected<HttpResponse> Wrong(const std::string& message) {
  return tl::unexpected(InvalidParameter(message));
}

// Of a value at most so much, for an error.
std::string Shown(const Json& value) {
  std::string text = value.dump(-1, ' ', true, Json::error_handler_t::replace);
  if (text.size() > 80) text = text.substr(0, 77) + "...";
  return text;
}

const Json* Field(const Json& json, const char* name) {
  const auto found = json.find(name);
  return found == json.end() || found->is_null() ? nullptr : &*found;
}

// Things that somebody who asks for them relies on.
Checked<> RefuseUnsupported(const Json& json) {
  static constexpr std::array kMustBeEmpty = {"Layers", "FileSystemConfigs", "ImageConfig",
                                              "KMSKeyArn", "CodeSigningConfigArn"};
  for (const char* name : kMustBeEmpty) {
    const Json* value = Field(json, name);
    if (value != nullptr && !value->empty() && *value != "")
      return Wrong(std::string(name) + ": " + Shown(*value) + "; Spore has no such thing");
  }
  static constexpr std::array<std::array<const char*, 2>, 3> kMustBeEmptyInside = {
      {{"VpcConfig", "SubnetIds"},
       {"VpcConfig", "SecurityGroupIds"},
       {"DeadLetterConfig", "TargetArn"}}};
  for (const auto& [outer, inner] : kMustBeEmptyInside) {
    const Json* object = Field(json, outer);
    if (object == nullptr || !object->is_object()) continue;
    const Json* value = Field(*object, inner);
    if (value != nullptr && !value->empty() && *value != "")
      return Wrong(std::string(outer) + "." + inner + ": " + Shown(*value) +
                   "; Spore has no such thing");
  }
  if (const Json* kind = Field(json, "PackageType"); kind != nullptr && *kind != "Zip")
    return Wrong("PackageType: " + Shown(*kind) + "; expected Zip");
  const Json* architectures = Field(json, "Architectures");
  if (architectures != nullptr && *architectures != Json::array({"x86_64"}))
    return Wrong("Architectures: " + Shown(*architectures) + "; expected [\"x86_64\"]");
  return {};
}

Checked<> ReadEnvironment(const Json& json, v1::FunctionSettings* settings, bool* given) {
  const Json* environment = Field(json, "Environment");
  if (environment == nullptr) return {};
  *given = true;
  if (!environment->is_object())
    return Wrong("Environment: " + Shown(*environment) + "; expected an object");
  const Json* variables = Field(*environment, "Variables");
  if (variables == nullptr) return {};
  if (!variables->is_object())
    return Wrong("Environment.Variables: " + Shown(*variables) + "; expected an object");
  for (const auto& [name, value] : variables->items()) {
    if (!value.is_string())
      return Wrong("Environment.Variables." + name + ": " + Shown(value) + "; expected a string");
    (*settings->mutable_environment())[name] = value.get<std::string>();
  }
  return {};
}

Checked<> ReadLimits(const Json& json, v1::Limits* limits) {
  int64_t timeout = 0, memory = 0, storage = 0;
  if (auto read = ReadInteger(json, "Timeout", 1, 86400, &timeout); !read) return read;
  if (auto read = ReadInteger(json, "MemorySize", 16, 65536, &memory); !read) return read;
  if (const Json* ephemeral = Field(json, "EphemeralStorage"); ephemeral != nullptr) {
    if (!ephemeral->is_object())
      return Wrong("EphemeralStorage: " + Shown(*ephemeral) + "; expected {\"Size\": MB}");
    if (auto read = ReadInteger(*ephemeral, "Size", 1, 65536, &storage); !read) return read;
  }
  limits->set_timeout_ms(static_cast<uint64_t>(timeout) * 1000);
  limits->set_memory_bytes(static_cast<uint64_t>(memory) << 20);
  limits->set_tmp_bytes(static_cast<uint64_t>(storage) << 20);
  return {};
}

std::string CodeSha256(const v1::Function& function) {
  constexpr std::string_view kPrefix = "sha256:";
  if (!function.code_digest().starts_with(kPrefix)) return {};
  const auto bytes = FromHex(std::string_view(function.code_digest()).substr(kPrefix.size()));
  return bytes ? Base64(*bytes) : std::string();
}

}  // namespace

Checked<Json> ParseBody(const HttpRequest& request) {
  auto json = ParseBounded(request.body);
  if (!json || !json->is_object()) {
    return tl::unexpected(
        LambdaError(400, "InvalidRequestContentException", "The body is not a JSON object."));
  }
  return std::move(*json);
}

Checked<> ReadString(const Json& json, const char* field, std::string* out) {
  const Json* value = Field(json, field);
  if (value == nullptr) return {};
  if (!value->is_string())
    return Wrong(std::string(field) + ": " + Shown(*value) + "; expected a string");
  *out = value->get<std::string>();
  return {};
}

Checked<> ReadInteger(const Json& json, const char* field, int64_t least, int64_t most,
                      int64_t* out) {
  const Json* value = Field(json, field);
  if (value == nullptr) return {};
  const bool fits = value->is_number_integer() &&
                    (!value->is_number_unsigned() || value->get<uint64_t>() <= INT64_MAX) &&
                    value->get<int64_t>() >= least && value->get<int64_t>() <= most;
  if (!fits) {
    return Wrong(std::string(field) + ": " + Shown(*value) + "; expected an integer of " +
                 std::to_string(least) + " to " + std::to_string(most));
  }
  *out = value->get<int64_t>();
  return {};
}

Checked<> ReadBool(const Json& json, const char* field, bool* out) {
  const Json* value = Field(json, field);
  if (value == nullptr) return {};
  if (!value->is_boolean())
    return Wrong(std::string(field) + ": " + Shown(*value) + "; expected true or false");
  *out = value->get<bool>();
  return {};
}

std::string RuntimeOf(const std::string& lambda_runtime) {
  for (const char* runtime : {"python", "node", "java", "native", "provided"}) {
    if (lambda_runtime == runtime) return runtime;
  }
  const auto after = [&](std::string_view prefix) {
    return lambda_runtime.starts_with(prefix) && lambda_runtime.size() > prefix.size() &&
           std::isdigit(static_cast<unsigned char>(lambda_runtime[prefix.size()])) != 0;
  };
  if (after("python")) return "python";
  if (after("nodejs")) return "node";
  if (after("java")) return "java";
  if (lambda_runtime.starts_with("provided.")) return "provided";
  return {};
}

Checked<> ReadSettings(const Json& json, v1::FunctionSettings* settings, bool* environment) {
  if (auto fine = RefuseUnsupported(json); !fine) return fine;
  std::string runtime;
  if (auto read = ReadString(json, "Runtime", &runtime); !read) return read;
  if (!runtime.empty()) {
    settings->set_runtime(RuntimeOf(runtime));
    if (settings->runtime().empty()) {
      return Wrong(
          "Runtime: \"" + runtime.substr(0, 80) +
          "\"; expected pythonN, nodejsN, javaN, provided.*, or python, node, java, native");
    }
  }
  if (auto read = ReadString(json, "Handler", settings->mutable_handler()); !read) return read;
  if (Field(json, "Description") != nullptr) {
    if (auto read = ReadString(json, "Description", settings->mutable_description()); !read)
      return read;
  }
  if (auto read = ReadLimits(json, settings->mutable_limits()); !read) return read;
  return ReadEnvironment(json, settings, environment);
}

Json Configuration(const v1::Function& function, const std::string& qualifier) {
  const v1::FunctionSettings& settings = function.settings();
  const v1::Limits& limits = settings.limits();
  Json variables = Json::object();
  for (const auto& [name, value] : settings.environment()) variables[name] = value;
  Json json = {
      {"FunctionName", function.name()},
      {"FunctionArn", FunctionArn(function.name(), qualifier)},
      {"Runtime", settings.runtime()},
      {"Role", "arn:aws:iam::" + std::string(kAccount) + ":role/spore"},
      {"Handler", settings.handler()},
      {"CodeSize", function.code_bytes()},
      {"Description", settings.description()},
      {"Timeout", (limits.timeout_ms() + 999) / 1000},
      {"MemorySize", limits.memory_bytes() >> 20},
      {"LastModified", LambdaTime(function.updated_unix_ms())},
      {"CodeSha256", CodeSha256(function)},
      {"Version", function.published_version() == 0 ? "$LATEST"
                                                    : std::to_string(function.published_version())},
      {"TracingConfig", {{"Mode", "PassThrough"}}},
      {"RevisionId", function.revision_id()},
      {"State", "Active"},
      {"LastUpdateStatus", "Successful"},
      {"PackageType", "Zip"},
      {"Architectures", Json::array({"x86_64"})},
      {"EphemeralStorage", {{"Size", limits.tmp_bytes() >> 20}}},
  };
  if (!variables.empty()) json["Environment"] = {{"Variables", std::move(variables)}};
  return json;
}

std::string LambdaTime(int64_t unix_ms) {
  const auto seconds = static_cast<std::time_t>(unix_ms / 1000);
  std::tm parts{};
  ::gmtime_r(&seconds, &parts);
  std::array<char, 64> text;
  std::string out(text.data(),
                  std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%S", &parts));
  std::string millis = std::to_string(unix_ms % 1000);
  millis.insert(0, 3 - std::min<std::size_t>(3, millis.size()), '0');
  return out + "." + millis + "+0000";
}

Json CodeLocation() {
  return {{"RepositoryType", "Spore"}, {"Location", ""}};
}

HttpResponse ConfigurationResponse(int status, const v1::Function& function,
                                   const std::string& qualifier) {
  return JsonResponse(status, Dump(Configuration(function, qualifier)));
}

std::string Dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace spore::gateway
