// spore.v1.Sandboxes: Branch.
#include <algorithm>

#include "daemon/branches.h"
#include "daemon/sandboxes_service.h"

namespace spore {
namespace {

constexpr const char* kCopiedLanguage = "python";
constexpr uint64_t kLeastTtlMs = 1000;
constexpr uint64_t kMillisecond = 1'000'000;

Result<Branches::Order> OrderOf(ServiceContext& context, const Call& call,
                                const v1::BranchSandboxRequest& request) {
  SPORE_ASSIGN(const Session* source, UsableSession(context, call, request.id()));
  if (request.copies() > wire::kMaxBranches) {
    return MakeError(ErrorKind::kInvalid, "copies: " + std::to_string(request.copies()) +
                                              " is out of range; expected 1 to 16, or 0 for 1");
  }
  if (source->interpreter() != 0 && source->language() != kCopiedLanguage) {
    return MakeError(ErrorKind::kPrecondition,
                     "an interpreter of " + source->language() + " runs in session " +
                         source->id() + ": only those of " + kCopiedLanguage + " can be copied",
                     "end it before (RestartCode): files are copied then");
  }
  SPORE_TRY(CheckLabel(request.label()));
  if (request.ttl_ms() != 0) SPORE_TRY(CheckTtl(request.ttl_ms()));
  Branches::Order order;
  order.asked_ns = MonotonicNs();
  order.source = source->id();
  order.copies = std::max<uint32_t>(1, request.copies());
  order.only_interpreter = request.only_interpreter();
  order.settings = source->settings();
  order.settings.label = request.label();
  const uint64_t end = std::max(source->expires_ns(), order.asked_ns);
  order.settings.ttl_ms = request.ttl_ms() != 0
                              ? request.ttl_ms()
                              : std::max(kLeastTtlMs, (end - order.asked_ns) / kMillisecond);
  return order;
}

void Branch(ServiceContext& context, const CallPtr& call, v1::BranchSandboxRequest& request) {
  auto order = OrderOf(context, *call, request);
  if (!order) return call->Fail(order.error());
  const uint64_t id = context.branches.Begin(
      std::move(*order), [call](const Result<v1::BranchSandboxResponse>& response) {
        if (!response) return call->Fail(response.error());
        call->Reply(*response);
      });
  call->OnCancel([&context, id] { context.branches.Cancel(id); });
}

}  // namespace

void RegisterSandboxBranches(RpcServer& server, ServiceContext& context) {
  RegisterSandboxMethod(server, context, "Branch", Branch);
}

}  // namespace spore
