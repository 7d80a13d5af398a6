// spore.v1.Checkpoints: zygotes on disk, for root.
#include <utility>

#include "daemon/services/service_context.h"

namespace spore {
namespace {

constexpr char kService[] = "spore.v1.Checkpoints";
using CallPtr = std::shared_ptr<Call>;

Result<> CheckPeer(const Call& call) {
  if (MayOperate(call.peer())) return {};
  return MakeError(ErrorKind::kDenied, "only root may see and make checkpoints, and uid " +
                                           std::to_string(call.peer().uid) + " asked");
}

void List(ServiceContext& context, const CallPtr& call) {
  context.checkpoints.List(context.images.Manifests(), [call](auto all) {
    v1::ListCheckpointsResponse response;
    for (v1::Checkpoint& checkpoint : all) *response.add_checkpoints() = std::move(checkpoint);
    call->Reply(response);
  });
}

void Create(ServiceContext& context, const CallPtr& call,
            const v1::CreateCheckpointRequest& request) {
  auto image = context.images.FindNamed(request.image());
  if (!image) return call->Fail(image.error());
  (*image)->MakeCheckpoint(false, [call](const Result<v1::Checkpoint>& made) {
    if (!made) return call->Fail(made.error());
    call->Reply(*made);
  });
}

void RestoreInto(ServiceContext& context, const CallPtr& call, const std::string& name,
                 const std::string& id) {
  auto image = context.images.FindNamed(name);
  if (!image) return call->Fail(image.error());
  (*image)->Restore(id, [call, image = *image](const Result<>& result) {
    if (!result) return call->Fail(result.error());
    call->Reply(image->DescribeZygote());
  });
}

void Restore(ServiceContext& context, const CallPtr& call,
             const v1::RestoreCheckpointRequest& request) {
  if (request.image().empty() == request.id().empty()) {
    return call->Fail(Error{ErrorKind::kInvalid, 0, "image, id: expected one of the two", {}, {}});
  }
  if (request.id().empty()) return RestoreInto(context, call, request.image(), {});
  context.checkpoints.List(context.images.Manifests(),
                           [&context, call, id = request.id()](const auto& all) {
                             for (const v1::Checkpoint& checkpoint : all) {
                               if (checkpoint.id() == id)
                                 return RestoreInto(context, call, checkpoint.image(), id);
                             }
                             call->Fail(Error{ErrorKind::kNotFound,
                                              0,
                                              "no checkpoint \"" + id.substr(0, 64) + "\"",
                                              {},
                                              "`spore checkpoint ls` lists them"});
                           });
}

void Remove(ServiceContext& context, const CallPtr& call,
            const v1::RemoveCheckpointRequest& request) {
  context.checkpoints.Remove(request.id(), [call](const Result<>& result) {
    if (!result) return call->Fail(result.error());
    call->Reply(v1::RemoveCheckpointResponse());
  });
}

// Registers a method that is root's alone.
template <typename Request, typename Handle>
void RegisterForRoot(RpcServer& server, ServiceContext& context, const char* method,
                     Handle handle) {
  RegisterMethod<Request>(server, kService, method,
                          [&context, handle](CallPtr call, Request& request) {
                            if (auto allowed = CheckPeer(*call); !allowed)
                              return call->Fail(allowed.error());
                            handle(context, call, request);
                          });
}

}  // namespace

void RegisterCheckpoints(RpcServer& server, ServiceContext& context) {
  RegisterForRoot<v1::ListCheckpointsRequest>(
      server, context, "List",
      [](ServiceContext& all, const CallPtr& call, const auto&) { List(all, call); });
  RegisterForRoot<v1::CreateCheckpointRequest>(server, context, "Create", &Create);
  RegisterForRoot<v1::RestoreCheckpointRequest>(server, context, "Restore", &Restore);
  RegisterForRoot<v1::RemoveCheckpointRequest>(server, context, "Remove", &Remove);
}

}  // namespace spore
