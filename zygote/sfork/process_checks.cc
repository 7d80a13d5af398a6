#include "zygote/sfork/process_checks.h"

#include <sys/time.h>
#include <sys/wait.h>

#include <array>
#include <cerrno>
#include <cstdint>
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

Result<> CheckTimers() {
  // One record a timer; empty or, in kernels without CONFIG_POSIX_TIMERS, absent.
  std::ifstream timers("/proc/self/timers");
  std::string line;
  if (timers && std::getline(timers, line) && !line.empty()) {
    return MakeError(ErrorKind::kPrecondition,
                     "the process has a POSIX timer (" + line + "), which children would not have",
                     "delete it before the freeze and make it again in the child");
  }
  constexpr std::array kNames = {"ITIMER_REAL", "ITIMER_VIRTUAL", "ITIMER_PROF"};
  for (int which = 0; which < static_cast<int>(kNames.size()); ++which) {
    itimerval value{};
    // The set of timers is an enum of glibc's in C++.
    if (getitimer(static_cast<__itimer_which>(which), &value) < 0) return SysError("getitimer");
    if (value.it_value.tv_sec == 0 && value.it_value.tv_usec == 0) continue;
    return MakeError(ErrorKind::kPrecondition,
                     std::string(kNames[static_cast<size_t>(which)]) +
                         " is armed (alarm, setitimer), which it would not be in children",
                     "disarm it before the freeze");
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
