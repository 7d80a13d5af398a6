// The environment that an OCI archive's configuration asks for, as an image's manifest takes it.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "sandbox/sys/result.h"

namespace spore {

struct ArchiveEnvironment {
  std::map<std::string, std::string> variables;
  std::vector<std::string> notes;  // what was left out, and why; printable
};

// `entries`: "NAME=VALUE", each ended by NUL, as spore-unpack wrote them: hostile. `manifest` has
// the last word. Left out is what changes how programs are loaded, the runtime itself or what Spore
// tells a function: an operator may say that, an archive not. kInvalid when there is too much.
Result<ArchiveEnvironment> TakeArchiveEnvironment(
    std::string_view entries, const std::map<std::string, std::string>& manifest);

// What such variables add to an image's digest; nothing where there are none.
std::string ArchiveEnvironmentText(const std::map<std::string, std::string>& variables);

// Of a configuration's environment, in bytes; and of it the variables that are taken.
constexpr size_t kMaxArchiveEnvironment = 64 * 1024;
constexpr size_t kMaxArchiveVariables = 256;

}  // namespace spore
