#include "daemon/images/archive_environment.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "sandbox/sys/printable.h"

namespace spore {
namespace {

using Text = std::string_view;

constexpr size_t kMaxNamed = 20;  // in one note
constexpr size_t kMaxNameBytes = 128;

// The dynamic linker's, the C library's and the runtimes' own. One that ends in "*" is a prefix.
constexpr Text kChangesPrograms[] = {
    "LD_*",         "GLIBC_TUNABLES",  "GCONV_PATH",      "LOCPATH",    "NLSPATH",
    "MALLOC_*",     "PYTHONHOME",      "PYTHONMALLOC",    "NODE_*",     "UV_*",
    "OPENSSL_CONF", "OPENSSL_MODULES", "OPENSSL_ENGINES", "_JAVA_*",    "JAVA_OPTIONS",
    "JDK_JAVA_*",   "JAVA_TOOL_*",     "RES_OPTIONS",     "LOCALDOMAIN"};
// NODE_* but these, which name where modules are and what build a program is.
constexpr Text kHarmless[] = {"NODE_PATH", "NODE_ENV", "NODE_VERSION"};
// What a sandbox and a function have from Spore.
constexpr Text kSandboxOwn[] = {"HOME",   "USER",     "LOGNAME",  "TMPDIR",    "PWD",
                                "OLDPWD", "SHLVL",    "TERM",     "HOSTNAME",  "_",
                                "AWS_*",  "LAMBDA_*", "_HANDLER", "_X_AMZN_*", "SPORE_*"};

template <size_t count>
bool IsAmong(Text name, const Text (&patterns)[count]) {
  return std::any_of(std::begin(patterns), std::end(patterns), [&](Text pattern) {
    return pattern.ends_with('*') ? name.starts_with(pattern.substr(0, pattern.size() - 1))
                                  : name == pattern;
  });
}

bool IsVariableName(Text name) {
  const auto fits = [](char c) {
    return c == '_' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
  };
  return !name.empty() && name.size() <= kMaxNameBytes && !(name[0] >= '0' && name[0] <= '9') &&
         std::all_of(name.begin(), name.end(), fits);
}

bool HasControlCharacter(Text value) {
  return std::any_of(value.begin(), value.end(), [](char c) {
    return (static_cast<unsigned char>(c) < ' ' && c != '\t') || c == 0x7f;
  });
}

// Names with one reason to be left out.
struct LeftOut {
  const char* why;
  std::vector<std::string> names = {};
};

std::string Note(const LeftOut& left) {
  std::string names;
  for (size_t i = 0; i < std::min(left.names.size(), kMaxNamed); ++i)
    names += (i == 0 ? "" : ", ") + left.names[i];
  if (left.names.size() > kMaxNamed)
    names += fmt::format(" and {} more", left.names.size() - kMaxNamed);
  return fmt::format("left out of the archive's environment: {}: {}", names, left.why);
}

}  // namespace

Result<ArchiveEnvironment> TakeArchiveEnvironment(
    std::string_view entries, const std::map<std::string, std::string>& manifest) {
  if (entries.size() > kMaxArchiveEnvironment) {
    return MakeError(ErrorKind::kInvalid,
                     fmt::format("the archive's environment has {} bytes; expected at most {}",
                                 entries.size(), kMaxArchiveEnvironment));
  }
  ArchiveEnvironment taken;
  LeftOut no_variable{"no NAME=VALUE with a name of A-Z a-z 0-9 _ and no control character"};
  LeftOut programs{"changes how programs are loaded or run; the manifest's environment may say so"};
  LeftOut own{"a sandbox has its own"};
  while (!entries.empty()) {
    const Text entry = entries.substr(0, entries.find('\0'));
    entries.remove_prefix(std::min(entry.size() + 1, entries.size()));
    const size_t equals = entry.find('=');
    const Text name = entry.substr(0, equals);
    if (equals == entry.npos || !IsVariableName(name) ||
        HasControlCharacter(entry.substr(equals + 1))) {
      no_variable.names.push_back('"' + Printable(name.substr(0, kMaxNameBytes)) + '"');
    } else if (manifest.contains(std::string(name))) {
      continue;
    } else if (IsAmong(name, kChangesPrograms) && !IsAmong(name, kHarmless)) {
      programs.names.emplace_back(name);
    } else if (IsAmong(name, kSandboxOwn)) {
      own.names.emplace_back(name);
    } else {
      taken.variables[std::string(name)] = entry.substr(equals + 1);  // the last one counts
    }
  }
  if (taken.variables.size() > kMaxArchiveVariables) {
    return MakeError(ErrorKind::kInvalid,
                     fmt::format("the archive's environment has {} variables; expected at most {}",
                                 taken.variables.size(), kMaxArchiveVariables));
  }
  for (const LeftOut* left : {&no_variable, &programs, &own}) {
    if (!left->names.empty()) taken.notes.push_back(Note(*left));
  }
  return taken;
}

std::string ArchiveEnvironmentText(const std::map<std::string, std::string>& variables) {
  std::string text;
  for (const auto& [name, value] : variables) text += name + "=" + value + '\0';
  return text;
}

}  // namespace spore
