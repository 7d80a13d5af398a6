// spore.v1.Logs: what functions have written.
#include <algorithm>

#include "daemon/services/service_context.h"

namespace spore {
namespace {

constexpr char kService[] = "spore.v1.Logs";
constexpr uint32_t kMaxWaitMs = 60000;
using CallPtr = std::shared_ptr<Call>;

void Read(ServiceContext& context, const CallPtr& call, v1::ReadLogsRequest& request) {
  auto version = FindFunction(context, request.function(), [&](const v1::Function& function) {
    return MaySee(call->peer(), function);
  });
  if (!version) return call->Fail(version.error());
  if (request.wait_ms() > kMaxWaitMs) {
    return call->Fail({ErrorKind::kInvalid,
                       0,
                       "wait_ms: " + std::to_string(request.wait_ms()) + "; expected at most 60000",
                       {},
                       {}});
  }
  const uint64_t id =
      context.logs.Read(request, [call](v1::ReadLogsResponse response) { call->Reply(response); });
  call->OnCancel([&context, id] { context.logs.CancelRead(id); });
}

}  // namespace

void RegisterLogs(RpcServer& server, ServiceContext& context) {
  RegisterMethod<v1::ReadLogsRequest>(
      server, kService, "Read",
      [&context](CallPtr call, v1::ReadLogsRequest& request) { Read(context, call, request); });
}

}  // namespace spore
