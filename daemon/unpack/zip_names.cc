#include "daemon/unpack/zip_names.h"

#include <fmt/format.h>

#include <cstdint>
#include <string_view>

#include "daemon/unpack/entry_name.h"

namespace spore::unpack {
namespace {

// Layouts: APPNOTE.TXT 4.3.12 (directory entries) and 4.3.16 (the end record).
constexpr std::string_view kEndMark = "PK\5\6";
constexpr std::string_view kEntryMark = "PK\1\2";
constexpr size_t kEndBytes = 22;
constexpr size_t kEntryBytes = 46;
constexpr size_t kMaxComment = 65535;

uint32_t Little(std::string_view bytes, size_t at, size_t count) {
  uint32_t value = 0;
  for (size_t i = count; i-- > 0;) value = value << 8 | static_cast<unsigned char>(bytes[at + i]);
  return value;
}

}  // namespace

Result<> CheckZipNames(std::span<const std::byte> archive) {
  std::string_view bytes(reinterpret_cast<const char*>(archive.data()), archive.size());
  if (bytes.size() < kEndBytes) return {};
  size_t end = bytes.rfind(kEndMark, bytes.size() - kEndBytes);
  if (end == bytes.npos || bytes.size() - end > kEndBytes + kMaxComment) return {};
  size_t size = Little(bytes, end + 12, 4);
  if (size > end) return {};
  // Right before the end record, also when something was put in front of the whole archive.
  std::string_view directory = bytes.substr(end - size, size);
  while (directory.size() >= kEntryBytes && directory.starts_with(kEntryMark)) {
    size_t name = Little(directory, 28, 2);
    size_t rest = Little(directory, 30, 2) + Little(directory, 32, 2);
    if (directory.size() - kEntryBytes < name + rest) return {};
    std::string_view text = directory.substr(kEntryBytes, name);
    if (text.find('\0') != text.npos) {
      return MakeError(ErrorKind::kInvalid,
                       fmt::format("archive entry {}: the name holds a NUL byte", Quote(text)));
    }
    directory.remove_prefix(kEntryBytes + name + rest);
  }
  return {};
}

}  // namespace spore::unpack
