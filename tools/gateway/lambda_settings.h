// Lambda's description of a function, and spored's: each made from the other.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <tl/expected.hpp>

#include "spore/v1/spore.pb.h"
#include "tools/gateway/http_message.h"

namespace spore::gateway {

// A value, or the answer that refuses.
template <typename T = void>
using Checked = tl::expected<T, HttpResponse>;

// The request's body as a JSON object.
Checked<nlohmann::json> ParseBody(const HttpRequest& request);

// Fields of a JSON object; an error names the field, its value and what is expected. Absent and
// null are the same: `out` stays as it is.
Checked<> ReadString(const nlohmann::json& json, const char* field, std::string* out);
Checked<> ReadInteger(const nlohmann::json& json, const char* field, int64_t least, int64_t most,
                      int64_t* out);
Checked<> ReadBool(const nlohmann::json& json, const char* field, bool* out);

// "python3.11" -> "python" and so on; Spore's own names too. Empty: none of these.
std::string RuntimeOf(const std::string& lambda_runtime);

// What of CreateFunction and UpdateFunctionConfiguration is a setting. Refuses what is asked for
// and cannot be done (layers, VPCs, file systems). `environment`: whether it was given.
Checked<> ReadSettings(const nlohmann::json& json, v1::FunctionSettings* settings,
                       bool* environment);

// Lambda's FunctionConfiguration. `qualifier`: by which it was asked for, which then stands in its
// ARN.
nlohmann::json Configuration(const v1::Function& function, const std::string& qualifier = {});
// A configuration as an answer.
HttpResponse ConfigurationResponse(int status, const v1::Function& function,
                                   const std::string& qualifier = {});
nlohmann::json CodeLocation();
// "2024-01-31T12:00:00.000+0000".
std::string LambdaTime(int64_t unix_ms);

// As text; bytes that are no UTF-8 are replaced.
std::string Dump(const nlohmann::json& json);

}  // namespace spore::gateway
