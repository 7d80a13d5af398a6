// spore.v1.Sandboxes: Branch.
#include <algorithm>

#include "daemon/services/sandboxes_service.h"
#include "daemon/sessions/branches.h"

namespace spore {
namespace {

constexpr const char* kCopiedLanguage = "python";
constexpr uint64_t kLeastTtlMs = 1000;
constexpr uint64_t kMillisecond = 1'000'000;

// The quick way knows one language, and the layout of its zygote.
bool IsQuick(const Session& source) {
  if (source.settings().arrives) return false;
  return source.interpreter() == 0 || source.language() == kCopiedLanguage;
}

Result<Branches::Order> OrderOf(ServiceContext& context, const Call& call,
                                const v1::BranchSandboxRequest& request) {
  SPORE_ASSIGN(const Session* source, UsableSession(context, call, request.id()));
  if (request.copies() > wire::kMaxBranches) {
    return MakeError(ErrorKind::kInvalid, "copies: " + std::to_string(request.copies()) +
                                              " is out of range; expected 1 to 16, or 0 for 1");
  }
  if (request.only_interpreter() && !IsQuick(*source)) {
    return MakeError(
        ErrorKind::kPrecondition,
        "session " + source->id() + " can be branched as a whole only: " +
            (source->settings().arrives ? "it has come from a checkpoint"
                                        : "its interpreter is of " + source->language()),
        "without only_interpreter");
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

void Answer(const CallPtr& call, const Result<v1::BranchSandboxResponse>& response) {
  if (!response) return call->Fail(response.error());
  call->Reply(*response);
}

void BranchWhole(ServiceContext& context, const CallPtr& call, Branches::Order order) {
  const uint64_t id = context.whole_branches.Begin(
      std::move(order), [call](const auto& response) { Answer(call, response); });
  call->OnCancel([&context, id] { context.whole_branches.Cancel(id); });
}

// What has something that the quick way cannot copy is copied whole.
void Branch(ServiceContext& context, const CallPtr& call, v1::BranchSandboxRequest& request) {
  auto order = OrderOf(context, *call, request);
  if (!order) return call->Fail(order.error());
  const Session* source = context.sessions.Live(order->source);
  if (!IsQuick(*source)) return BranchWhole(context, call, std::move(*order));
  const uint64_t id = context.branches.Begin(
      *order, [&context, call, order = *order](const Result<v1::BranchSandboxResponse>& response) {
        const bool is_refused = !response && response.error().kind == ErrorKind::kPrecondition;
        if (is_refused && !order.only_interpreter && context.sessions.Live(order.source) != nullptr)
          return BranchWhole(context, call, order);
        Answer(call, response);
      });
  call->OnCancel([&context, id] { context.branches.Cancel(id); });
}

}  // namespace

void RegisterSandboxBranches(RpcServer& server, ServiceContext& context) {
  RegisterSandboxMethod(server, context, "Branch", Branch);
}

}  // namespace spore
