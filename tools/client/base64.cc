#include "tools/client/base64.h"

#include <nettle/base64.h>

#include <cstdint>

namespace spore::client {

std::string Base64(std::string_view bytes) {
  std::string text(BASE64_ENCODE_RAW_LENGTH(bytes.size()), '\0');
  base64_encode_raw(text.data(), bytes.size(), reinterpret_cast<const uint8_t*>(bytes.data()));
  return text;
}

std::optional<std::string> FromBase64(std::string_view text) {
  base64_decode_ctx context;
  base64_decode_init(&context);
  size_t length = BASE64_DECODE_LENGTH(text.size());
  std::string bytes(length, '\0');
  if (base64_decode_update(&context, &length, reinterpret_cast<uint8_t*>(bytes.data()), text.size(),
                           text.data()) == 0 ||
      base64_decode_final(&context) == 0) {
    return std::nullopt;
  }
  bytes.resize(length);
  return bytes;
}

}  // namespace spore::client
