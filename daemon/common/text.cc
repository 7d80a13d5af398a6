#include "daemon/common/text.h"

#include "sandbox/sys/printable.h"

namespace spore {

std::string ValidUtf8(std::string_view text, size_t most) {
  std::string valid;
  while (!text.empty()) {
    char32_t code = 0;
    const size_t length = DecodeUtf8(text, &code);
    const std::string_view next = length == 0 ? "\xef\xbf\xbd" : text.substr(0, length);
    if (valid.size() + next.size() > most) break;
    valid.append(next);
    text.remove_prefix(length == 0 ? 1 : length);
  }
  return valid;
}

}  // namespace spore
