#include "daemon/common/paths.h"

#include <cstdlib>

namespace spore {
namespace {

std::string FromEnvironment(const char* variable, const char* installed) {
  const char* value = std::getenv(variable);
  return value != nullptr && *value != 0 ? value : installed;
}

}  // namespace

std::string LibexecDirectory() {
  return FromEnvironment("SPORE_LIBEXEC", SPORE_LIBEXEC_DIR);
}
std::string HostsDirectory() {
  return FromEnvironment("SPORE_HOSTS", SPORE_HOSTS_DIR);
}

}  // namespace spore
