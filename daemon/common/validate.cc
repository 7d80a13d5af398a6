#include "daemon/common/validate.h"

#include <fmt/format.h>
#include <google/protobuf/descriptor.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <string_view>

#include "daemon/common/runtimes.h"
#include "sandbox/sys/printable.h"

namespace spore {
namespace {

constexpr size_t kMaxNameBytes = 64;
constexpr size_t kMaxHandlerBytes = 128;
constexpr size_t kMaxEnvironmentBytes = 64 * 1024;
constexpr int kMaxEnvironmentCount = 256;
constexpr size_t kQuotedBytes = 100;

bool IsAlnum(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0;
}

// The value in quotes; control characters escaped, long ones cut, but not inside a character.
std::string Quote(std::string_view value) {
  std::string text = "\"";
  size_t done = 0;
  while (done < value.size() && done < kQuotedBytes) {
    done += AppendPrintable(value.substr(done), &text);
  }
  return text + (done < value.size() ? "...\"" : "\"");
}

tl::unexpected<Error> Refuse(std::string_view field, std::string_view value,
                             std::string_view expected) {
  return MakeError(ErrorKind::kInvalid,
                   fmt::format("{}: {} is not valid; expected {}", field, Quote(value), expected));
}

struct Range {
  uint64_t least = 0;
  uint64_t most = 0;
  uint64_t fallback = 0;
};

constexpr uint64_t kKiB = 1024, kMiB = kKiB * 1024, kGiB = kMiB * 1024;
constexpr uint64_t kDayMs = 86400000;

// By field number of spore.v1.Limits; the same numbers stand in spore.proto's comments.
const Range& RangeOf(int field) {
  static const uint64_t cpus = static_cast<uint64_t>(std::max(1L, sysconf(_SC_NPROCESSORS_ONLN)));
  static const std::array<Range, 12> ranges = {{
      {},
      {16 * kMiB, 64 * kGiB, 128 * kMiB},  // memory_bytes
      {10, 1000 * cpus, 1000},             // cpu_millis
      {1, 32768, 64},                      // pids
      {64 * kKiB, 64 * kGiB, 64 * kMiB},   // tmp_bytes
      {16, 1048576, 1024},                 // open_files
      {1, kDayMs, 30000},                  // timeout_ms
      {1, 64 * kMiB, 6 * kMiB},            // payload_bytes
      {1, 64 * kMiB, 6 * kMiB},            // response_bytes
      {1, 64 * kMiB, 1 * kMiB},            // output_bytes
      {1, 10000, 100},                     // max_instances
      {1, kDayMs, 60000},                  // idle_ms
  }};
  return ranges.at(static_cast<size_t>(field));
}

uint64_t Get(const v1::Limits& limits, const google::protobuf::FieldDescriptor* field) {
  const auto* reflection = v1::Limits::GetReflection();
  if (field->cpp_type() == google::protobuf::FieldDescriptor::CPPTYPE_UINT32) {
    return reflection->GetUInt32(limits, field);
  }
  return reflection->GetUInt64(limits, field);
}

// `value` is within the field's range, which fits its type.
void Set(v1::Limits* limits, const google::protobuf::FieldDescriptor* field, uint64_t value) {
  const auto* reflection = v1::Limits::GetReflection();
  if (field->cpp_type() == google::protobuf::FieldDescriptor::CPPTYPE_UINT32) {
    reflection->SetUInt32(limits, field, static_cast<uint32_t>(value));
  } else {
    reflection->SetUInt64(limits, field, value);
  }
}

bool IsIdentifier(std::string_view part) {
  if (part.empty() || std::isdigit(static_cast<unsigned char>(part[0])) != 0) return false;
  return std::all_of(part.begin(), part.end(), [](char c) {
    return IsAlnum(c) || c == '_' || (static_cast<unsigned char>(c) & 0x80) != 0;
  });
}

}  // namespace

Result<> ValidateFunctionName(const std::string& name) {
  bool valid = !name.empty() && name.size() <= kMaxNameBytes && IsAlnum(name[0]) &&
               std::all_of(name.begin(), name.end(),
                           [](char c) { return IsAlnum(c) || c == '_' || c == '-'; });
  if (valid) return {};
  return Refuse("name", name, "1 to 64 of A-Z a-z 0-9 _ -, the first a letter or digit");
}

Result<> ValidateHandler(const std::string& runtime, const std::string& handler) {
  const RuntimeFacts* facts = FindRuntime(runtime);
  if (facts == nullptr) {
    return MakeError(ErrorKind::kInvalid, fmt::format("runtime: {} is not known; expected {}",
                                                      Quote(runtime), RuntimeNames()));
  }
  if (handler.size() <= kMaxHandlerBytes && facts->is_handler(handler)) return {};
  return Refuse("handler", handler, fmt::format("{}, at most 128 bytes", facts->handler_form));
}

Result<> ValidateEnvironment(const google::protobuf::Map<std::string, std::string>& environment) {
  if (environment.size() > kMaxEnvironmentCount) {
    return MakeError(ErrorKind::kInvalid,
                     fmt::format("environment: {} variables; expected at most {}",
                                 environment.size(), kMaxEnvironmentCount));
  }
  size_t bytes = 0;
  for (const auto& [name, value] : environment) {
    if (!std::all_of(name.begin(), name.end(), [](char c) { return IsAlnum(c) || c == '_'; }) ||
        !IsIdentifier(name)) {
      return Refuse("environment", name, "names of A-Z a-z 0-9 _, the first no digit");
    }
    if (value.find('\0') != value.npos) {
      return MakeError(ErrorKind::kInvalid,
                       fmt::format("environment.{}: the value holds a NUL byte", name));
    }
    bytes += name.size() + value.size() + 2;
  }
  if (bytes <= kMaxEnvironmentBytes) return {};
  return MakeError(ErrorKind::kInvalid, fmt::format("environment: {} bytes; expected at most {}",
                                                    bytes, kMaxEnvironmentBytes));
}

v1::Limits DefaultLimits() {
  v1::Limits limits;
  const auto* descriptor = v1::Limits::descriptor();
  for (int i = 0; i < descriptor->field_count(); ++i) {
    const auto* field = descriptor->field(i);
    const Range& range = RangeOf(field->number());
    Set(&limits, field, std::min(range.fallback, range.most));
  }
  return limits;
}

Result<v1::Limits> ResolveLimits(const v1::Limits& asked, const v1::Limits& base,
                                 const v1::Limits& max) {
  v1::Limits resolved;
  const auto* descriptor = v1::Limits::descriptor();
  for (int i = 0; i < descriptor->field_count(); ++i) {
    const auto* field = descriptor->field(i);
    Range range = RangeOf(field->number());
    if (uint64_t most = Get(max, field); most != 0) {
      range.most = std::max(range.least, std::min(range.most, most));
    }
    uint64_t value = Get(asked, field);
    if (value == 0) {
      value = Get(base, field) != 0 ? Get(base, field) : range.fallback;
      value = std::clamp(value, range.least, range.most);
    }
    if (value < range.least || value > range.most) {
      return MakeError(ErrorKind::kInvalid,
                       fmt::format("limits.{}: {} is out of range; expected {} to {}",
                                   field->name(), value, range.least, range.most));
    }
    Set(&resolved, field, value);
  }
  return resolved;
}

}  // namespace spore
