#include "daemon/rpc/call_payload.h"

#include <nlohmann/json.hpp>

namespace spore {
namespace {

constexpr size_t kMaxClientContextBytes = 64u << 10;

}  // namespace

Result<> CheckClientContext(const std::string& context) {
  if (context.empty()) return {};
  if (context.size() > kMaxClientContextBytes) {
    return MakeError(ErrorKind::kInvalid, "client_context: " + std::to_string(context.size()) +
                                              " bytes; expected at most " +
                                              std::to_string(kMaxClientContextBytes));
  }
  if (!nlohmann::json::accept(context))
    return MakeError(ErrorKind::kInvalid, "client_context: not JSON");
  return {};
}

}  // namespace spore
