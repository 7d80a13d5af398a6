#include "zygote/sfork/process_checks.h"

#include <sys/wait.h>

#include <cerrno>
#include <fstream>
#include <string>
#include <string_view>

namespace spore {
namespace {

bool HasFlag(std::string_view flags, std::string_view flag) {
  return (" " + std::string(flags) + " ").find(" " + std::string(flag) + " ") != std::string::npos;
}

// A mapping's first line in smaps begins with an address range; its attributes with a capital.
bool IsMapping(std::string_view line) {
  const size_t end = line.find(' ');
  return end != std::string_view::npos && line.substr(0, end).find('-') != std::string_view::npos &&
         line.substr(0, end).find(':') == std::string_view::npos;
}

}  // namespace

Result<> CheckMappings() {
  std::ifstream smaps("/proc/thread-self/smaps");
  if (!smaps) return SysError("open", "/proc/thread-self/smaps");
  std::string line, mapping;
  constexpr std::string_view kFlags = "VmFlags:";
  while (std::getline(smaps, line)) {
    if (IsMapping(line)) mapping = line;
    if (line.compare(0, kFlags.size(), kFlags) != 0) continue;
    const std::string_view flags = std::string_view(line).substr(kFlags.size());
    // "sh" says that what is written reaches others; a file mapped shared for reading has only
    // "ms".
    if (HasFlag(flags, "sh")) {
      return MakeError(ErrorKind::kPrecondition,
                       "the mapping " + mapping +
                           " is shared and can be written: all children would "
                           "share it",
                       "map it privately, or turn off what makes it (the JVM: -XX:-UsePerfData)");
    }
    if (HasFlag(flags, "dc")) {
      return MakeError(ErrorKind::kPrecondition,
                       "the mapping " + mapping + " would be missing in children (MADV_DONTFORK)",
                       "preload libsfork's interposers, which ignore that advice");
    }
  }
  return {};
}

Result<> CheckChildren() {
  siginfo_t info{};
  const int rc =
      waitid(P_ALL, 0, &info, WEXITED | WSTOPPED | WCONTINUED | WNOHANG | WNOWAIT | __WALL);
  if (rc < 0 && errno == ECHILD) return {};
  if (rc < 0) return SysError("waitid");
  return MakeError(ErrorKind::kPrecondition,
                   "the process has children of its own" +
                       (info.si_pid != 0 ? " (" + std::to_string(info.si_pid) + " has ended)" : ""),
                   "wait for them before the freeze: copies of it could not");
}

}  // namespace spore
