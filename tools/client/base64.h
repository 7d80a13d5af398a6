// Base64 as RFC 4648, section 4, has it.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace spore::client {

std::string Base64(std::string_view bytes);
// Nothing when it is not base64. White space is passed over.
std::optional<std::string> FromBase64(std::string_view text);

}  // namespace spore::client
