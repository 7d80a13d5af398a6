// Hexadecimal, percent-encoding, SHA-256.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "tools/client/base64.h"

namespace spore::gateway {

using Digest = std::array<uint8_t, 32>;

Digest Sha256(std::string_view data);
Digest HmacSha256(std::string_view key, std::string_view data);
std::string Hex(std::string_view bytes);
std::string Hex(const Digest& digest);
inline std::string_view Bytes(const Digest& digest) {
  return {reinterpret_cast<const char*>(digest.data()), digest.size()};
}
// Nothing when it is not hexadecimal.
std::optional<std::string> FromHex(std::string_view text);
// Takes as long whatever the contents are. Lengths are no secret.
bool EqualInConstantTime(std::string_view a, std::string_view b);

using client::Base64;
using client::FromBase64;

// %XX decoded; nothing when it is malformed or holds a NUL. `plus` turns "+" into a blank.
std::optional<std::string> PercentDecode(std::string_view text, bool plus = false);
// As AWS signs: all but A-Z a-z 0-9 - . _ ~ encoded; `keep_slash` leaves "/" too.
std::string PercentEncode(std::string_view text, bool keep_slash);

bool IsUtf8(std::string_view text);
// 16 bytes of the kernel's, in the form of a UUID of version 4.
std::string RandomUuid();
std::string ToLower(std::string_view text);

}  // namespace spore::gateway
