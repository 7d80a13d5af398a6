#include "zygote/supervisor/options.h"

#include <getopt.h>

#include <charconv>
#include <cstring>

namespace spore {
namespace {

Result<long> ParseNumber(const char* name, const char* text) {
  long value = 0;
  const char* end = text + strlen(text);
  const auto parsed = std::from_chars(text, end, value);
  if (parsed.ec != std::errc{} || parsed.ptr != end || value < 0)
    return MakeError(ErrorKind::kInvalid, std::string("--") + name + ": not a number: " + text);
  return value;
}

std::vector<std::string> SplitCommas(const std::string& text) {
  std::vector<std::string> parts;
  size_t start = 0;
  while (start < text.size()) {
    const size_t end = std::min(text.find(',', start), text.size());
    if (end > start) parts.push_back(text.substr(start, end - start));
    start = end + 1;
  }
  return parts;
}

Result<> Apply(SupervisorOptions& options, const option& which, const char* value) {
  const std::string name = which.name;
  if (name == "image") options.image = value;
  if (name == "runtime") options.runtime = value;
  if (name == "interpreter") options.interpreter = value;
  if (name == "host-dir") options.host_dir = value;
  if (name == "root") options.root = value;
  if (name == "warm-up") options.warm_up = value;
  if (name == "checkpoint") options.checkpoint = value;
  if (name == "preload") options.preload = SplitCommas(value);
  if (name == "threads") options.threads = true;
  if (name == "option") options.interpreter_options.emplace_back(value);
  if (name == "env") options.environment.emplace_back(value);
  if (which.val != 'n') return {};
  SPORE_ASSIGN(const long number, ParseNumber(which.name, value));
  if (name == "uid-base") options.uid_base = static_cast<uid_t>(number);
  if (name == "uid-count") options.uid_count = static_cast<uid_t>(number);
  if (name == "supervisor-fd") options.supervisor_fd = static_cast<int>(number);
  if (name == "zygote-fd") options.zygote_fd = static_cast<int>(number);
  return {};
}

}  // namespace

Result<SupervisorOptions> ParseSupervisorOptions(int argc, char** argv) {
  static const option kOptions[] = {
      {"image", required_argument, nullptr, 's'},
      {"runtime", required_argument, nullptr, 's'},
      {"interpreter", required_argument, nullptr, 's'},
      {"host-dir", required_argument, nullptr, 's'},
      {"preload", required_argument, nullptr, 's'},
      {"root", required_argument, nullptr, 's'},
      {"warm-up", required_argument, nullptr, 's'},
      {"threads", no_argument, nullptr, 's'},
      {"option", required_argument, nullptr, 's'},
      {"env", required_argument, nullptr, 's'},
      {"checkpoint", required_argument, nullptr, 's'},
      {"uid-base", required_argument, nullptr, 'n'},
      {"uid-count", required_argument, nullptr, 'n'},
      {"supervisor-fd", required_argument, nullptr, 'n'},
      {"zygote-fd", required_argument, nullptr, 'n'},
      {nullptr, 0, nullptr, 0},
  };
  SupervisorOptions options;
  int index = 0;
  for (int got; (got = getopt_long(argc, argv, "", kOptions, &index)) != -1;) {
    if (got == '?')
      return MakeError(ErrorKind::kInvalid, "unknown option", "spored starts this program");
    SPORE_TRY(Apply(options, kOptions[index], optarg));
  }
  if (options.supervisor_fd < 0 || options.zygote_fd < 0 || options.uid_base == 0 ||
      options.uid_count < 2 || options.interpreter.empty() || options.host_dir.empty()) {
    return MakeError(ErrorKind::kInvalid, "an option is missing", "spored starts this program");
  }
  return options;
}

}  // namespace spore
