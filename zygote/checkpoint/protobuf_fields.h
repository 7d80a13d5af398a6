// The wire format of protobuf, as far as fields of a message are left out, put in and passed on
// unread. What is read is hostile.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace spore {

struct ProtobufField {
  uint32_t number = 0;
  std::string_view whole;                 // with its key
  std::optional<std::string_view> bytes;  // the content, if it is of a kind that has a length
};

// Calls `visit` for each field in order; false: it is no message, or `visit` has said so.
bool ForEachField(std::string_view message, const std::function<bool(const ProtobufField&)>& visit);

void PutVarint(std::string& message, uint64_t value);
void PutNumber(std::string& message, uint32_t field, uint64_t value);
void PutBytes(std::string& message, uint32_t field, std::string_view bytes);

}  // namespace spore
