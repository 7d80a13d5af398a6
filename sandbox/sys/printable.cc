#include "sandbox/sys/printable.h"

#include <cstdio>

namespace spore {

size_t DecodeUtf8(std::string_view text, char32_t* code) {
  auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  unsigned char first = byte(0);
  if (first < 0x80) {
    *code = first;
    return 1;
  }
  size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4 || text.size() < length) return 0;
  char32_t value = first & (0x7fu >> length);
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
    value = (value << 6) | (byte(i) & 0x3fu);
  }
  constexpr char32_t kSmallest[] = {0, 0, 0x80, 0x800, 0x10000};
  if (value < kSmallest[length] || value > 0x10ffff) return 0;
  if (value >= 0xd800 && value <= 0xdfff) return 0;
  *code = value;
  return length;
}

bool IsControl(char32_t code) {
  return code < 0x20 || (code >= 0x7f && code < 0xa0);
}

size_t AppendPrintable(std::string_view text, std::string* out) {
  char32_t code = 0;
  const size_t length = DecodeUtf8(text, &code);
  if (length > 0 && !IsControl(code)) {
    *out += text.substr(0, length);
    return length;
  }
  char escape[8];
  snprintf(escape, sizeof escape, length > 1 ? "\\u%04x" : "\\x%02x",
           length > 1 ? static_cast<unsigned>(code) : static_cast<unsigned char>(text[0]));
  *out += escape;
  return length > 1 ? length : 1;
}

std::string Printable(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    if (text[0] == '\t') {
      out += '\t';
      text.remove_prefix(1);
    } else {
      text.remove_prefix(AppendPrintable(text, &out));
    }
  }
  return out;
}

}  // namespace spore
