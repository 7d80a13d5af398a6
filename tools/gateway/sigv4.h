// AWS Signature Version 4, in the Authorization header, checked.
// AWS's documentation has how it is made under "Create a signed AWS API request".
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "tools/gateway/http_message.h"

namespace spore::gateway {

// Access key id -> secret.
using SigningKeys = std::map<std::string, std::string, std::less<>>;

// Why a signature is not taken: AWS's name for it, and words for the caller. Never has a secret.
struct SignatureProblem {
  std::string type;
  std::string message;
};

inline bool IsSigV4(std::string_view authorization) {
  return authorization.starts_with("AWS4-HMAC-SHA256 ");
}

// What can be said before the body is there: the form, the key, the clock.
std::optional<SignatureProblem> CheckSignatureHead(const HttpRequest& request,
                                                   const SigningKeys& keys, int64_t unix_now);
// The signature itself, over the whole request.
std::optional<SignatureProblem> CheckSignature(const HttpRequest& request, const SigningKeys& keys,
                                               int64_t unix_now);

}  // namespace spore::gateway
