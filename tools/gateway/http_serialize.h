// Answers as bytes.
#pragma once

#include <string>
#include <string_view>

#include "tools/gateway/http_message.h"

namespace spore::gateway {

// Appends the answer to `out`. Content-Length and Connection are this function's own; headers that
// could not stand in a head (ValidHeader) are left out.
void Serialize(const HttpResponse& response, bool keep_alive, bool head_only, std::string* out);

// A name of token characters, a value without control characters.
bool ValidHeader(std::string_view name, std::string_view value);

// "Thu, 01 Jan 1970 00:00:00 GMT".
std::string HttpDate(int64_t unix_seconds);

// "Not Found" of 404.
std::string_view ReasonPhrase(int status);

}  // namespace spore::gateway
