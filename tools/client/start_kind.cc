#include "tools/client/start_kind.h"

namespace spore::client {

const char* StartName(v1::StartKind kind) {
  switch (kind) {
    case v1::START_KIND_WARM:
      return "warm";
    case v1::START_KIND_FORK:
      return "fork";
    case v1::START_KIND_RESTORE:
      return "restore";
    case v1::START_KIND_COLD:
      return "cold";
    default:
      return "";
  }
}

}  // namespace spore::client
