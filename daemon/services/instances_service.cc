// spore.v1.Instances: what runs now, and what has just ended.
#include "daemon/services/service_context.h"

namespace spore {
namespace {

constexpr char kService[] = "spore.v1.Instances";
using CallPtr = std::shared_ptr<Call>;

void List(ServiceContext& context, const CallPtr& call, v1::ListInstancesRequest& request) {
  v1::ListInstancesResponse response;
  const auto wanted = [&](uid_t owner, const std::string& function) {
    return MaySeeInstance(call->peer(), owner) &&
           (request.function().empty() || function == request.function());
  };
  for (v1::Instance& instance : context.invoker.List(request.include_dead(), wanted)) {
    if (instance.state() == v1::Instance::DEAD && !request.include_dead()) continue;
    *response.add_instances() = std::move(instance);
  }
  call->Reply(response);
}

void Inspect(ServiceContext& context, const CallPtr& call, v1::InspectRequest& request) {
  auto instance = context.invoker.Find(request.id(), [&](uid_t owner, const std::string&) {
    return MaySeeInstance(call->peer(), owner);
  });
  if (!instance) return call->Fail(instance.error());
  call->Reply(*instance);
}

void Kill(ServiceContext& context, const CallPtr& call, v1::KillRequest& request) {
  auto instance = context.invoker.Find(
      request.id(), [&](uid_t owner, const std::string&) { return MayKill(call->peer(), owner); });
  if (!instance) return call->Fail(instance.error());
  if (auto killed = context.invoker.Kill(instance->id()); !killed) {
    return call->Fail(killed.error());
  }
  v1::KillResponse response;
  response.set_id(instance->id());
  call->Reply(response);
}

}  // namespace

void RegisterInstances(RpcServer& server, ServiceContext& context) {
  RegisterMethod<v1::ListInstancesRequest>(
      server, kService, "List", [&context](CallPtr call, v1::ListInstancesRequest& request) {
        List(context, call, request);
      });
  RegisterMethod<v1::InspectRequest>(
      server, kService, "Inspect",
      [&context](CallPtr call, v1::InspectRequest& request) { Inspect(context, call, request); });
  RegisterMethod<v1::KillRequest>(
      server, kService, "Kill",
      [&context](CallPtr call, v1::KillRequest& request) { Kill(context, call, request); });
}

}  // namespace spore
