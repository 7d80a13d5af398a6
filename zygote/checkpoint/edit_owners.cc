#include "zygote/checkpoint/edit_owners.h"

#include <algorithm>
#include <array>
#include <span>

#include "zygote/checkpoint/protobuf_fields.h"

namespace spore {
namespace {

// Fields of CRIU's images/fdinfo.proto, sk-unix.proto, memfd.proto and ghost-file.proto.
constexpr uint32_t kUnixSocket = 16, kSocketPermissions = 13;
constexpr std::array<uint32_t, 2> kPermissionIds = {2, 3}, kMemfdIds = {2, 3}, kGhostIds = {1, 2};
constexpr std::array<uint32_t, 4> kGhostIdsAndTimes = {1, 2, 7, 8};
constexpr uint32_t kUnknown = 2000;  // of no meaning to CRIU; its key takes two bytes
constexpr size_t kUnknownBytes = 3;  // with its length
constexpr size_t kMostPadding = 120;

std::optional<std::string> Without(std::string_view message, std::span<const uint32_t> numbers) {
  std::string made;
  const bool whole = ForEachField(message, [&](const ProtobufField& field) {
    if (std::find(numbers.begin(), numbers.end(), field.number) == numbers.end())
      made += field.whole;
    return true;
  });
  return whole ? std::optional(made) : std::nullopt;
}

std::optional<std::string> WithIds(std::string_view message, std::span<const uint32_t> numbers,
                                   uid_t uid) {
  std::optional<std::string> made = Without(message, numbers);
  if (!made) return made;
  for (const uint32_t number : numbers) PutNumber(*made, number, uid);
  return made;
}

// The message with one of its fields, a message too, edited.
template <typename Edit>
std::optional<std::string> Inside(std::string_view message, uint32_t number, const Edit& edit) {
  std::string made;
  const bool whole = ForEachField(message, [&](const ProtobufField& field) {
    if (field.number != number) {
      made += field.whole;
      return true;
    }
    const std::optional<std::string> edited = field.bytes ? edit(*field.bytes) : std::nullopt;
    if (edited) PutBytes(made, number, *edited);
    return edited.has_value();
  });
  return whole ? std::optional(made) : std::nullopt;
}

// A number of that field which takes `more` bytes than it needs.
void PutLongNumber(std::string& message, uint32_t field, uint64_t value, size_t more) {
  PutNumber(message, field, value);
  for (; more > 0; --more) {
    message.back() = static_cast<char>(static_cast<unsigned char>(message.back()) | 0x80);
    message.push_back('\0');
  }
}

}  // namespace

std::optional<std::string> EditFilesEntry(std::string_view message, uid_t uid) {
  return Inside(message, kUnixSocket, [uid](std::string_view socket) {
    return Inside(socket, kSocketPermissions, [uid](std::string_view permissions) {
      return WithIds(permissions, kPermissionIds, uid);
    });
  });
}

std::optional<std::string> EditMemfdEntry(std::string_view message, uid_t uid) {
  return WithIds(message, kMemfdIds, uid);
}

std::optional<std::string> EditGhostEntry(std::string_view message, uid_t uid) {
  std::optional<std::string> made = Without(message, kGhostIdsAndTimes);
  if (!made) return made;
  PutNumber(*made, kGhostIds[0], uid);
  std::string second;
  PutNumber(second, kGhostIds[1], uid);
  if (made->size() + second.size() > message.size()) return std::nullopt;
  const size_t padding = message.size() - made->size() - second.size();
  if (padding > kMostPadding) return std::nullopt;
  PutLongNumber(*made, kGhostIds[1], uid, padding < kUnknownBytes ? padding : 0);
  if (padding >= kUnknownBytes)
    PutBytes(*made, kUnknown, std::string(padding - kUnknownBytes, '\0'));
  return made;
}

}  // namespace spore
