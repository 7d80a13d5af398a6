#include "zygote/hosts/node/utf8.h"

#include <cstddef>

namespace spore {
namespace {

// How many bytes the sequence has that begins with `first`; 0: none begins so.
size_t LengthOf(unsigned char first) {
  if (first < 0x80) return 1;
  if (first < 0xc2) return 0;  // a continuation, or an overlong form
  if (first < 0xe0) return 2;
  if (first < 0xf0) return 3;
  return first < 0xf5 ? 4 : 0;
}

// The second byte's bounds exclude overlong forms, surrogates and what is above U+10FFFF.
bool SecondFits(unsigned char first, unsigned char second) {
  const unsigned char least = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
  const unsigned char most = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
  return least <= second && second <= most;
}

}  // namespace

bool IsUtf8(std::string_view bytes) {
  for (size_t at = 0; at < bytes.size();) {
    const auto first = static_cast<unsigned char>(bytes[at]);
    const size_t length = LengthOf(first);
    if (length == 0 || bytes.size() - at < length) return false;
    for (size_t i = 1; i < length; ++i) {
      const auto byte = static_cast<unsigned char>(bytes[at + i]);
      if ((byte & 0xc0) != 0x80 || (i == 1 && !SecondFits(first, byte))) return false;
    }
    at += length;
  }
  return true;
}

}  // namespace spore
