#include "tools/spore/units.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <array>
#include <charconv>
#include <chrono>
#include <cmath>
#include <ctime>
#include <string_view>

namespace spore::cli {
namespace {

struct Unit {
  std::string_view suffix;
  double factor;
};

constexpr double kKi = 1024.0;
constexpr std::array<Unit, 14> kSizes{{{"", 1},
                                       {"B", 1},
                                       {"K", kKi},
                                       {"KB", kKi},
                                       {"KIB", kKi},
                                       {"M", kKi* kKi},
                                       {"MB", kKi* kKi},
                                       {"MIB", kKi* kKi},
                                       {"G", kKi* kKi* kKi},
                                       {"GB", kKi* kKi* kKi},
                                       {"GIB", kKi* kKi* kKi},
                                       {"T", kKi* kKi* kKi* kKi},
                                       {"TB", kKi* kKi* kKi* kKi},
                                       {"TIB", kKi* kKi* kKi* kKi}}};
constexpr std::array<Unit, 6> kDurations{
    {{"", 1e3}, {"MS", 1}, {"S", 1e3}, {"M", 60e3}, {"H", 3600e3}, {"D", 86400e3}}};

// A plain decimal number with one of the units; what is left must be a whole number.
template <typename Units>
std::optional<uint64_t> Parse(const std::string& text, const Units& units) {
  if (text.empty() || text[0] < '0' || text[0] > '9') return std::nullopt;
  double number = 0;
  const char* end = text.data() + text.size();
  const auto parsed = std::from_chars(text.data(), end, number, std::chars_format::fixed);
  if (parsed.ec != std::errc()) return std::nullopt;
  std::string suffix;
  for (const char* c = parsed.ptr; c != end; ++c) {
    suffix += static_cast<char>(*c >= 'a' && *c <= 'z' ? *c - 'a' + 'A' : *c);
  }
  for (const Unit& unit : units) {
    if (unit.suffix != suffix) continue;
    const double value = std::round(number * unit.factor);
    // 2^53: beyond it a double no longer holds every whole number.
    if (value > 9007199254740992.0) return std::nullopt;
    return static_cast<uint64_t>(value);
  }
  return std::nullopt;
}

// At most three digits that matter: "1.5", "12.3", "128".
std::string Short(double value) {
  std::string text = value < 10    ? fmt::format("{:.2f}", value)
                     : value < 100 ? fmt::format("{:.1f}", value)
                                   : fmt::format("{:.0f}", value);
  if (text.find('.') == std::string::npos) return text;
  while (text.back() == '0') text.pop_back();
  if (text.back() == '.') text.pop_back();
  return text;
}

}  // namespace

std::optional<uint64_t> ParseSize(const std::string& text) {
  return Parse(text, kSizes);
}

std::optional<uint64_t> ParseDuration(const std::string& text) {
  return Parse(text, kDurations);
}

std::optional<uint32_t> ParseCpus(const std::string& text) {
  constexpr std::array<Unit, 1> kCpus{{{"", 1000}}};
  const auto millis = Parse(text, kCpus);
  if (!millis || *millis > UINT32_MAX) return std::nullopt;
  return static_cast<uint32_t>(*millis);
}

std::string HumanBytes(uint64_t bytes) {
  constexpr std::array<const char*, 5> kUnits{"B", "KiB", "MiB", "GiB", "TiB"};
  auto value = static_cast<double>(bytes);
  std::size_t unit = 0;
  while (value >= kKi && unit + 1 < kUnits.size()) {
    value /= kKi;
    ++unit;
  }
  return Short(value) + " " + kUnits[unit];
}

std::string HumanMicroseconds(uint64_t us) {
  const auto value = static_cast<double>(us);
  if (us < 1000) return fmt::format("{} us", us);
  if (us < 1000 * 1000) return Short(value / 1e3) + " ms";
  if (us < 60 * 1000 * 1000) return Short(value / 1e6) + " s";
  const uint64_t seconds = us / 1000000;
  if (seconds < 3600) return fmt::format("{}m {}s", seconds / 60, seconds % 60);
  if (seconds < 86400) return fmt::format("{}h {}m", seconds / 3600, seconds / 60 % 60);
  return fmt::format("{}d {}h", seconds / 86400, seconds / 3600 % 24);
}

std::string HumanAge(int64_t unix_ms) {
  const int64_t now = std::chrono::duration_cast<std::chrono::milliseconds>(
                          std::chrono::system_clock::now().time_since_epoch())
                          .count();
  const int64_t seconds = now > unix_ms ? (now - unix_ms) / 1000 : 0;
  if (unix_ms <= 0) return "-";
  if (seconds < 120) return fmt::format("{}s", seconds);
  if (seconds < 120 * 60) return fmt::format("{}m", seconds / 60);
  if (seconds < 48 * 3600) return fmt::format("{}h", seconds / 3600);
  return fmt::format("{}d", seconds / 86400);
}

std::string HumanTime(int64_t unix_ms) {
  if (unix_ms <= 0) return "-";
  const auto seconds = static_cast<std::time_t>(unix_ms / 1000);
  std::tm local{};
  ::localtime_r(&seconds, &local);
  return fmt::format("{:%Y-%m-%d %H:%M:%S}", local);
}

}  // namespace spore::cli
