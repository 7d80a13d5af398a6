#include "sandbox/sys/fault_point.h"

#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <string>

namespace spore {
namespace {

struct ArmedPoint {
  bool armed = false;
  bool kills = false;
  std::string name;
};
ArmedPoint& Armed() {
  static ArmedPoint armed;
  return armed;
}

}  // namespace

Result<> ArmFaultPoint(std::string_view spec) {
  ArmedPoint armed;
  if (!spec.empty()) {
    size_t colon = spec.rfind(':');
    std::string_view action = colon == spec.npos ? "" : spec.substr(colon + 1);
    if (colon == 0 || (action != "fail" && action != "kill")) {
      return MakeError(ErrorKind::kInvalid,
                       "SPORE_FAULT: \"" + std::string(spec) +
                           "\" is not of the form <point>:fail or <point>:kill");
    }
    armed = {true, action == "kill", std::string(spec.substr(0, colon))};
  }
  Armed() = std::move(armed);
  return {};
}

Result<> FaultPoint(std::string_view name) {
  const ArmedPoint& armed = Armed();
  if (!armed.armed || armed.name != name) return {};
  if (armed.kills) ::kill(::getpid(), SIGKILL);
  return SysErrorOf(EIO, "fault point", name);
}

}  // namespace spore
