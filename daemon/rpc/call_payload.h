// What requests to invoke a function have in common, now or later: the event and the client's
// context.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "daemon/rpc/payload.h"
#include "daemon/rpc/rpc_server.h"
#include "sandbox/sys/result.h"

namespace spore {

// The event: the request's own bytes, or those of the descriptor that came with it.
template <typename Request>
Result<std::string> TakePayload(const std::shared_ptr<Call>& call, Request& request,
                                uint64_t limit) {
  const std::vector<ClientFd> fds = call->TakeFds();
  if (!request.payload_attached()) {
    if (request.payload().size() > limit)
      return tl::unexpected(PayloadTooLarge(request.payload().size(), limit));
    return std::move(*request.mutable_payload());
  }
  if (fds.size() != 1)
    return MakeError(ErrorKind::kInvalid, "payload_attached, but no descriptor came");
  return ReadPayload(fds.front().get(), limit);
}

// JSON of a bounded size, or nothing.
Result<> CheckClientContext(const std::string& context);

}  // namespace spore
