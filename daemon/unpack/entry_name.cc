#include "daemon/unpack/entry_name.h"

#include <fmt/format.h>

#include <limits.h>

#include "sandbox/sys/printable.h"

namespace spore::unpack {
namespace {

constexpr size_t kQuotedBytes = 200;

tl::unexpected<Error> Refuse(std::string_view name, std::string_view why) {
  return MakeError(ErrorKind::kInvalid, fmt::format("archive entry {}: {}", Quote(name), why));
}

Result<> CheckCharacters(std::string_view name) {
  std::string_view rest = name;
  while (!rest.empty()) {
    char32_t code = 0;
    size_t length = DecodeUtf8(rest, &code);
    if (length == 0) return Refuse(name, "the name is not valid UTF-8");
    if (IsControl(code)) {
      return Refuse(name, fmt::format("the name holds the control character U+{:04X}",
                                      static_cast<uint32_t>(code)));
    }
    rest.remove_prefix(length);
  }
  return {};
}

}  // namespace

std::string Quote(std::string_view name) {
  std::string quoted = "\"";
  std::string_view rest = name;
  while (!rest.empty() && quoted.size() < kQuotedBytes) {
    rest.remove_prefix(AppendPrintable(rest, &quoted));
  }
  return quoted + (rest.empty() ? "\"" : "...\"");
}

Result<std::string> CleanEntryName(std::string_view name, const NameLimits& limits) {
  if (name.empty()) return Refuse(name, "the name is empty");
  if (name.size() > limits.path_bytes) {
    return Refuse(name, fmt::format("the name has {} bytes; at most {} are allowed", name.size(),
                                    limits.path_bytes));
  }
  SPORE_TRY(CheckCharacters(name));
  if (name.front() == '/') return Refuse(name, "the name is absolute");
  std::string clean;
  uint32_t depth = 0;
  for (size_t at = 0; at <= name.size();) {
    size_t end = std::min(name.find('/', at), name.size());
    std::string_view part = name.substr(at, end - at);
    at = end + 1;
    if (part.empty() || part == ".") continue;
    if (part == "..") return Refuse(name, "the name holds \"..\"");
    if (part.size() > NAME_MAX) {
      return Refuse(name, fmt::format("a part of the name has {} bytes; at most {} are allowed",
                                      part.size(), NAME_MAX));
    }
    if (++depth > limits.depth) {
      return Refuse(name, fmt::format("it is more than {} folders deep", limits.depth));
    }
    if (!clean.empty()) clean += '/';
    clean += part;
  }
  return clean;
}

Result<> CheckLinkTarget(std::string_view link, std::string_view target, const NameLimits& limits) {
  auto refuse = [&](std::string_view why) {
    return Refuse(link, fmt::format("it links to {}, {}", Quote(target), why));
  };
  if (target.empty()) return refuse("which is empty");
  if (target.size() > limits.path_bytes) return refuse("which is too long");
  if (!CheckCharacters(target)) return refuse("which is not a valid name");
  if (target.front() == '/') return refuse("which is outside the archive");
  int64_t depth = 0;
  for (char c : link) depth += c == '/';
  for (size_t at = 0; at <= target.size();) {
    size_t end = std::min(target.find('/', at), target.size());
    std::string_view part = target.substr(at, end - at);
    at = end + 1;
    if (part.empty() || part == ".") continue;
    depth += part == ".." ? -1 : 1;
    if (depth < 0) return refuse("which is outside the archive");
  }
  return {};
}

}  // namespace spore::unpack
