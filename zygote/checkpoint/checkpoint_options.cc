#include "zygote/checkpoint/checkpoint_options.h"

#include <algorithm>
#include <charconv>
#include <string_view>

namespace spore {
namespace {

template <typename Value>
bool Number(std::string_view text, Value& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

bool ApplyText(std::string_view name, std::string_view value, CheckpointOptions& options) {
  if (name == "cgroup") options.cgroups.emplace_back(value);
  if (name == "enter") options.enter.emplace_back(value);
  if (name == "denied") options.denied = value;
  return name == "cgroup" || name == "enter" || name == "denied";
}

bool Apply(std::string_view name, std::string_view value, CheckpointOptions& options) {
  if (ApplyText(name, value, options)) return true;
  if (name == "loopback" || name == "leave-running") {
    (name == "loopback" ? options.loopback : options.leave_running) = true;
    return value.empty();
  }
  if (name == "uid") return Number(value, options.uid);
  if (name == "agent") return Number(value, options.agent);
  if (name == "descriptor") return Number(value, options.descriptor);
  if (name == "last-number") return Number(value, options.last_number);
  if (name == "open-files") return Number(value, options.open_files);
  if (name == "monotonic-ns") return Number(value, options.monotonic_ns);
  if (name == "boottime-ns") return Number(value, options.boottime_ns);
  if (name != "limit-ms") return false;
  int64_t limit_ms = 0;
  if (!Number(value, limit_ms)) return false;
  options.limit = std::chrono::milliseconds(limit_ms);
  return true;
}

}  // namespace

Result<CheckpointOptions> ParseCheckpointOptions(int argc, char** argv) {
  CheckpointOptions options;
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    const size_t equals = std::min(word.find('='), word.size());
    const std::string_view value = word.substr(std::min(equals + 1, word.size()));
    if (!Apply(word.substr(0, equals), value, options)) {
      return MakeError(ErrorKind::kInvalid,
                       std::string(argv[0]) + ": \"" + std::string(word) + "\" is no option",
                       "spored starts this program");
    }
  }
  if (options.cgroups.empty() || options.agent <= 0)
    return MakeError(ErrorKind::kInvalid, std::string(argv[0]) + ": agent or cgroup is missing");
  return options;
}

}  // namespace spore
