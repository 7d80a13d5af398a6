// spore.v1.SessionCheckpoints: sessions on disk.
#include <optional>
#include <utility>
#include <vector>

#include "daemon/services/sandboxes_service.h"
#include "daemon/services/service_context.h"

namespace spore {
namespace {

constexpr char kService[] = "spore.v1.SessionCheckpoints";

// Those after `from`, of a list in the order of its keys.
v1::ListSessionCheckpointsResponse Page(std::vector<v1::SessionCheckpointRecord> all,
                                        const std::optional<SessionCheckpointKey>& from,
                                        uint32_t limit) {
  v1::ListSessionCheckpointsResponse response;
  ListPage page(limit);
  for (v1::SessionCheckpointRecord& record : all) {
    v1::SessionCheckpoint& checkpoint = *record.mutable_checkpoint();
    if (from && SessionCheckpointKey::Of(checkpoint) <= *from) continue;
    checkpoint.clear_execs();
    checkpoint.clear_environment();
    if (!page.Takes(checkpoint)) {
      const auto last =
          SessionCheckpointKey::Of(response.checkpoints(response.checkpoints_size() - 1));
      response.set_next_marker(last.Marker());
      break;
    }
    *response.add_checkpoints() = std::move(checkpoint);
  }
  return response;
}

void List(ServiceContext& context, const CallPtr& call,
          v1::ListSessionCheckpointsRequest& request) {
  std::optional<SessionCheckpointKey> from;
  if (!request.marker().empty()) {
    auto parsed = SessionCheckpointKey::Parse(request.marker());
    if (!parsed) return call->Fail(parsed.error());
    from = std::move(*parsed);
  }
  context.session_checkpoint_lane.List(call->peer().uid, context.images.Manifests(),
                                       [call, from, limit = request.limit()](auto all) {
                                         call->Reply(Page(std::move(all), from, limit));
                                       });
}

void Inspect(ServiceContext& context, const CallPtr& call,
             v1::InspectSessionCheckpointRequest& request) {
  context.session_checkpoint_lane.Find(call->peer().uid, request.name(), context.images.Manifests(),
                                       [call](const auto& found) {
                                         if (!found) return call->Fail(found.error());
                                         call->Reply(found->checkpoint());
                                       });
}

void Remove(ServiceContext& context, const CallPtr& call,
            v1::RemoveSessionCheckpointRequest& request) {
  context.session_checkpoint_lane.Remove(call->peer().uid, request.name(),
                                         [call](const auto& removed) {
                                           if (!removed) return call->Fail(removed.error());
                                           call->Reply(v1::RemoveSessionCheckpointResponse());
                                         });
}

void Create(ServiceContext& context, const CallPtr& call,
            v1::CreateSessionCheckpointRequest& request) {
  auto session = UsableSession(context, *call, request.id());
  if (!session) return call->Fail(session.error());
  context.session_checkpoints.Create({.session = (*session)->id(),
                                      .leave_running = request.leave_running(),
                                      .asked_ns = MonotonicNs()},
                                     request.name(), [call](const auto& created) {
                                       if (!created) return call->Fail(created.error());
                                       call->Reply(*created);
                                     });
}

void Restore(ServiceContext& context, const CallPtr& call, v1::RestoreSessionRequest& request) {
  Result<> valid = CheckLabel(request.label());
  if (valid && request.ttl_ms() != 0) valid = CheckTtl(request.ttl_ms());
  if (!valid) return call->Fail(valid.error());
  call->OnCancel(context.session_checkpoints.Restore({.peer = call->peer().uid,
                                                      .name = request.name(),
                                                      .label = request.label(),
                                                      .ttl_ms = request.ttl_ms()},
                                                     [call](const auto& restored) {
                                                       if (!restored)
                                                         return call->Fail(restored.error());
                                                       call->Reply(*restored);
                                                     }));
}

template <typename Request>
void RegisterOne(RpcServer& server, ServiceContext& context, const char* method,
                 void (*handler)(ServiceContext&, const CallPtr&, Request&)) {
  RegisterMethod<Request>(server, kService, method,
                          [&context, handler](const CallPtr& call, Request& request) {
                            handler(context, call, request);
                          });
}

}  // namespace

void RegisterSessionCheckpoints(RpcServer& server, ServiceContext& context) {
  RegisterOne(server, context, "Create", &Create);
  RegisterOne(server, context, "Restore", &Restore);
  RegisterOne(server, context, "List", &List);
  RegisterOne(server, context, "Inspect", &Inspect);
  RegisterOne(server, context, "Remove", &Remove);
}

}  // namespace spore
