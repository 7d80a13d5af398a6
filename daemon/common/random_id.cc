#include "daemon/common/random_id.h"

#include <sys/random.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>

namespace spore {
namespace {

// getrandom(2) cannot fail for so few bytes once the kernel's generator is seeded.
void Fill(void* buffer, size_t size) {
  if (getrandom(buffer, size, 0) != static_cast<ssize_t>(size)) std::abort();
}

}  // namespace

uint64_t RandomNumber() {
  uint64_t bits;
  Fill(&bits, sizeof bits);
  return bits;
}

double RandomFraction() {
  return static_cast<double>(RandomNumber() >> 11) * 0x1p-53;
}

std::string NewInstanceId() {
  char text[17];
  snprintf(text, sizeof text, "%012llx", static_cast<unsigned long long>(RandomNumber() >> 16));
  return text;
}

std::string NewRequestId() {
  uint8_t b[16];
  Fill(b, sizeof b);
  b[6] = static_cast<uint8_t>((b[6] & 0x0f) | 0x40);
  b[8] = static_cast<uint8_t>((b[8] & 0x3f) | 0x80);
  char text[37];
  snprintf(text, sizeof text,
           "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1], b[2],
           b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]);
  return text;
}

}  // namespace spore
