// What the parts of spore.v1.Sandboxes share.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "daemon/services/service_context.h"
#include "daemon/sessions/sessions.h"
#include "spore/v1/sandboxes.pb.h"

namespace spore {

constexpr char kSandboxes[] = "spore.v1.Sandboxes";
constexpr uint32_t kMaxSandboxWaitMs = 60000;
using CallPtr = std::shared_ptr<Call>;

// The session that the peer means, live or not.
Result<Sessions::Found> FindSession(ServiceContext& context, const Call& call,
                                    const std::string& id);
// One that lives.
Result<Session*> LiveSession(ServiceContext& context, const Call& call, const std::string& id);
// One that can be asked for something now.
Result<Session*> UsableSession(ServiceContext& context, const Call& call, const std::string& id);

Result<> CheckWait(uint32_t wait_ms);
Result<> CheckTtl(uint64_t ttl_ms);
Result<> CheckLabel(const std::string& label);

// Asks the session's agent, which keeps the session from being idle; `answered` is not called when
// the client has gone before.
void AskAgent(ServiceContext& context, const CallPtr& call, Session& session, std::string ask,
              std::chrono::milliseconds patience, AgentLink::Answered answered);

// Registers a handler(context, call, request).
template <typename Request>
void RegisterSandboxMethod(RpcServer& server, ServiceContext& context, const char* method,
                           void (*handler)(ServiceContext&, const CallPtr&, Request&),
                           size_t (*fd_count)(const Request&) = nullptr) {
  RegisterMethod<Request>(
      server, kSandboxes, method,
      [&context, handler](const CallPtr& call, Request& request) {
        handler(context, call, request);
      },
      fd_count);
}

// Each a part of the service.
void RegisterSandboxBranches(RpcServer& server, ServiceContext& context);
void RegisterSandboxExecs(RpcServer& server, ServiceContext& context);
void RegisterSandboxFiles(RpcServer& server, ServiceContext& context);

}  // namespace spore
