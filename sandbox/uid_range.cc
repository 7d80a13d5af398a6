#include "sandbox/uid_range.h"

#include <charconv>
#include <optional>

namespace spore {
namespace {

std::string_view NextLine(std::string_view& text) {
  const size_t end = text.find('\n');
  const std::string_view line = text.substr(0, end);
  text.remove_prefix(end == text.npos ? text.size() : end + 1);
  return line;
}

std::string_view Field(std::string_view line, int index) {
  for (; index > 0; --index) {
    const size_t colon = line.find(':');
    if (colon == line.npos) return {};
    line.remove_prefix(colon + 1);
  }
  return line.substr(0, line.find(':'));
}

std::optional<uint64_t> Number(std::string_view text) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

}  // namespace

std::string UidRangeProblem(uint32_t base, uint32_t count, std::string_view accounts,
                            std::string_view subordinates) {
  constexpr uint64_t kLast = 0xfffffffe;  // -1 means "no change"
  constexpr uint32_t kBlock = 65536;      // ids of one user namespace
  const uint64_t end = uint64_t{base} + count;
  if (base < kBlock || end > kLast)
    return "it must lie between " + std::to_string(kBlock) + " and " + std::to_string(kLast);
  if (count < 2 * kBlock || count % kBlock != 0)
    return "its size must be a multiple of " + std::to_string(kBlock) + " and at least two";
  while (!accounts.empty()) {
    const std::string_view line = NextLine(accounts);
    const auto id = Number(Field(line, 2));
    if (id && *id >= base && *id < end)
      return "the id of '" + std::string(Field(line, 0)) + "', " + std::to_string(*id) +
             ", is inside";
  }
  while (!subordinates.empty()) {
    const std::string_view line = NextLine(subordinates);
    const auto start = Number(Field(line, 1));
    const auto size = Number(Field(line, 2));
    if (start && size && *start < end && base < *start + *size)
      return "it overlaps what belongs to '" + std::string(Field(line, 0)) + "' (" +
             std::to_string(*start) + " to " + std::to_string(*start + *size - 1) + ")";
  }
  return {};
}

}  // namespace spore
