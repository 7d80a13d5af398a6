#include "zygote/checkpoint/protobuf_fields.h"

namespace spore {
namespace {

enum WireType : uint32_t { kVarint = 0, kFixed64 = 1, kLength = 2, kFixed32 = 5 };
constexpr uint32_t kTypeBits = 3;
constexpr uint32_t kHighestField = (1u << 29) - 1;
constexpr unsigned kLongestVarint = 10;

std::optional<uint64_t> TakeVarint(std::string_view& from) {
  uint64_t value = 0;
  for (unsigned i = 0; i < kLongestVarint && i < from.size(); ++i) {
    const auto byte = static_cast<unsigned char>(from[i]);
    value |= static_cast<uint64_t>(byte & 0x7f) << (7 * i);
    if (byte < 0x80) {
      from.remove_prefix(i + 1);
      return value;
    }
  }
  return std::nullopt;
}

// How many bytes the content has; of a field with a length, when that is taken.
std::optional<uint64_t> TakeSize(std::string_view& rest, uint32_t type) {
  switch (type) {
    case kVarint:
      return TakeVarint(rest) ? std::optional<uint64_t>(0) : std::nullopt;
    case kFixed64:
      return 8;
    case kFixed32:
      return 4;
    case kLength:
      return TakeVarint(rest);
    default:
      return std::nullopt;  // groups, which proto2 has given up
  }
}

}  // namespace

bool ForEachField(std::string_view message,
                  const std::function<bool(const ProtobufField&)>& visit) {
  while (!message.empty()) {
    std::string_view rest = message;
    const std::optional<uint64_t> key = TakeVarint(rest);
    if (!key || *key >> kTypeBits == 0 || *key >> kTypeBits > kHighestField) return false;
    ProtobufField field;
    field.number = static_cast<uint32_t>(*key >> kTypeBits);
    const auto type = static_cast<uint32_t>(*key & ((1u << kTypeBits) - 1));
    const std::optional<uint64_t> size = TakeSize(rest, type);
    if (!size || *size > rest.size()) return false;
    if (type == kLength) field.bytes = rest.substr(0, *size);
    rest.remove_prefix(*size);
    field.whole = message.substr(0, message.size() - rest.size());
    if (!visit(field)) return false;
    message = rest;
  }
  return true;
}

void PutVarint(std::string& message, uint64_t value) {
  for (; value >= 0x80; value >>= 7) message.push_back(static_cast<char>(value | 0x80));
  message.push_back(static_cast<char>(value));
}

void PutNumber(std::string& message, uint32_t field, uint64_t value) {
  PutVarint(message, static_cast<uint64_t>(field) << kTypeBits | kVarint);
  PutVarint(message, value);
}

void PutBytes(std::string& message, uint32_t field, std::string_view bytes) {
  PutVarint(message, static_cast<uint64_t>(field) << kTypeBits | kLength);
  PutVarint(message, bytes.size());
  message += bytes;
}

}  // namespace spore
