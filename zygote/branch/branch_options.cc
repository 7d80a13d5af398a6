#include "zygote/branch/branch_options.h"

#include <algorithm>
#include <charconv>
#include <string_view>

#include "zygote/branch_protocol.h"

namespace spore {
namespace {

bool Number(std::string_view text, uint32_t& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

bool Apply(std::string_view name, std::string_view value, BranchOptions& options) {
  uint32_t number = 0;
  if (name == "running" || name == "alone") {
    (name == "running" ? options.running : options.alone) = true;
    return value.empty();
  }
  if (name == "cgroup") {
    options.cgroup = value;
    return true;
  }
  if (name == "enter" && !options.targets.empty()) {
    options.targets.back().cgroups.emplace_back(value);
    return true;
  }
  if (!Number(value, number)) return false;
  if (name == "interpreter") options.interpreter = static_cast<pid_t>(number);
  if (name == "target") options.targets.push_back({number, {}});
  return name == "interpreter" || name == "target";
}

}  // namespace

Result<BranchOptions> ParseBranchOptions(std::string_view words) {
  BranchOptions options;
  while (!words.empty()) {
    const std::string_view word = words.substr(0, words.find('\0'));
    words.remove_prefix(std::min(word.size() + 1, words.size()));
    const size_t equals = std::min(word.find('='), word.size());
    const std::string_view value = word.substr(std::min(equals + 1, word.size()));
    if (!Apply(word.substr(0, equals), value, options))
      return MakeError(ErrorKind::kInvalid, "branch: \"" + std::string(word) + "\" is no option",
                       "spored tells it");
  }
  if (!options.targets.empty() && options.targets.size() <= wire::kMaxBranches) return options;
  return MakeError(ErrorKind::kInvalid, "branch: expected 1 to 16 targets");
}

}  // namespace spore
