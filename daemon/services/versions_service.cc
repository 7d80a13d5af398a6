// spore.v1.Versions: published versions, aliases, tags, concurrency.
#include "daemon/common/unix_time.h"
#include "daemon/functions/function_facts.h"
#include "daemon/services/service_context.h"

namespace spore {
namespace {

constexpr char kService[] = "spore.v1.Versions";
using CallPtr = std::shared_ptr<Call>;

// Of those who may change the function.
template <typename Request>
Result<const DeployedFunction*> ForChange(const ServiceContext& context, const CallPtr& call,
                                          const Request& request) {
  SPORE_TRY(FindFunction(context, request.name(), [&](const v1::Function& function) {
    return MayChange(call->peer(), function);
  }));
  return context.store.FindDeployed(request.name());
}

template <typename Request>
Result<const DeployedFunction*> ForReading(const ServiceContext& context, const CallPtr& call,
                                           const Request& request) {
  SPORE_TRY(FindFunction(context, request.name(), [&](const v1::Function& function) {
    return MaySee(call->peer(), function);
  }));
  return context.store.FindDeployed(request.name());
}

// Applies it, tells the invoker, and answers with what `describe` makes of the function then.
template <typename Describe>
void Change(ServiceContext& context, const CallPtr& call, const std::string& name,
            FunctionStore::ChangeFacts change, Describe describe) {
  context.store.Change(name, std::move(change),
                       [&context, call, name, describe](const Result<>& done) {
                         if (!done) return call->Fail(done.error());
                         const DeployedFunction& function = *context.store.FindDeployed(name);
                         context.invoker.FunctionChanged(function);
                         call->Reply(describe(function));
                       });
}

v1::PublishedVersion Describe(const ServiceContext& context, const DeployedFunction& function,
                              const v1::PublishedVersion& version) {
  v1::PublishedVersion described = version;
  const auto found = function.published.find(version.number());
  if (found != function.published.end())
    *described.mutable_function() = DescribeFunction(context, function, found->second->function);
  return described;
}

void Publish(ServiceContext& context, const CallPtr& call, v1::PublishVersionRequest& request) {
  auto function = ForChange(context, call, request);
  if (!function) return call->Fail(function.error());
  if (auto valid = ValidateDescription(request.description()); !valid)
    return call->Fail(valid.error());
  const uid_t owner = (*function)->latest->function.owner_uid();
  if (auto room = CheckFunctionCount(context, owner); !room) return call->Fail(room.error());
  ++context.deploying[owner];
  auto published = std::make_shared<Published>();
  const std::string name = request.name();
  context.store.Change(name, ChangePublish(request, NowUnixMs(), published),
                       [&context, call, name, owner, published](const Result<>& done) {
                         if (--context.deploying[owner] == 0) context.deploying.erase(owner);
                         if (!done) return call->Fail(done.error());
                         const DeployedFunction& deployed = *context.store.FindDeployed(name);
                         context.invoker.FunctionChanged(deployed);
                         if (!published->unchanged) {
                           TellFunction(context, v1::HostEvent::FUNCTION_PUBLISHED,
                                        deployed.latest->function,
                                        "published version " + std::to_string(published->number));
                         }
                         v1::PublishVersionResponse response;
                         response.set_unchanged(published->unchanged);
                         for (const v1::PublishedVersion& version : deployed.facts->published()) {
                           if (version.number() == published->number)
                             *response.mutable_version() = Describe(context, deployed, version);
                         }
                         call->Reply(response);
                       });
}

void List(ServiceContext& context, const CallPtr& call, const v1::ListVersionsRequest& request) {
  auto function = ForReading(context, call, request);
  if (!function) return call->Fail(function.error());
  v1::ListVersionsResponse response;
  ListPage page(request.limit());
  for (const v1::PublishedVersion& version : (*function)->facts->published()) {
    if (version.number() <= request.marker()) continue;
    v1::PublishedVersion described = Describe(context, **function, version);
    if (!page.Takes(described)) {
      response.set_next_marker(response.versions(response.versions_size() - 1).number());
      break;
    }
    *response.add_versions() = std::move(described);
  }
  call->Reply(response);
}

void Remove(ServiceContext& context, const CallPtr& call, const v1::RemoveVersionRequest& request) {
  auto function = ForChange(context, call, request);
  if (!function) return call->Fail(function.error());
  Change(context, call, request.name(), ChangeRemoveVersion(request.number()),
         [](const DeployedFunction&) { return v1::RemoveVersionResponse(); });
}

void SetAlias(ServiceContext& context, const CallPtr& call, const v1::SetAliasRequest& request) {
  auto function = ForChange(context, call, request);
  if (!function) return call->Fail(function.error());
  if (auto valid = ValidateDescription(request.alias().description()); !valid)
    return call->Fail(valid.error());
  Change(context, call, request.name(), ChangeSetAlias(request),
         [name = request.alias().name()](const DeployedFunction& changed) {
           for (const v1::Alias& alias : changed.facts->aliases()) {
             if (alias.name() == name) return alias;
           }
           return v1::Alias();  // removed again meanwhile
         });
}

void ListAliases(ServiceContext& context, const CallPtr& call,
                 const v1::ListAliasesRequest& request) {
  auto function = ForReading(context, call, request);
  if (!function) return call->Fail(function.error());
  v1::ListAliasesResponse response;
  for (const v1::Alias& alias : (*function)->facts->aliases()) {
    if (request.version() == 0 || alias.version() == request.version() ||
        alias.second_version() == request.version())
      *response.add_aliases() = alias;
  }
  call->Reply(response);
}

void RemoveAlias(ServiceContext& context, const CallPtr& call,
                 const v1::RemoveAliasRequest& request) {
  auto function = ForChange(context, call, request);
  if (!function) return call->Fail(function.error());
  if (auto valid = ValidateAliasName(request.alias()); !valid) return call->Fail(valid.error());
  Change(context, call, request.name(), ChangeRemoveAlias(request.alias()),
         [](const DeployedFunction&) { return v1::RemoveAliasResponse(); });
}

void Tag(ServiceContext& context, const CallPtr& call, const v1::TagRequest& request) {
  auto function = ForChange(context, call, request);
  if (!function) return call->Fail(function.error());
  if (auto valid = ValidateTags(request); !valid) return call->Fail(valid.error());
  Change(context, call, request.name(), ChangeTags(request), [](const DeployedFunction& changed) {
    v1::TagResponse response;
    *response.mutable_tags() = changed.facts->tags();
    return response;
  });
}

void SetConcurrency(ServiceContext& context, const CallPtr& call,
                    const v1::SetConcurrencyRequest& request) {
  auto function = ForChange(context, call, request);
  if (!function) return call->Fail(function.error());
  uint32_t most = 10000;
  if (const uint32_t allowed = context.config.max_limits.max_instances(); allowed != 0)
    most = std::min(most, allowed);
  if (request.concurrency() > most) {
    return call->Fail({ErrorKind::kInvalid,
                       0,
                       "concurrency: " + std::to_string(request.concurrency()) +
                           " is out of range; expected 0 to " + std::to_string(most),
                       {},
                       {}});
  }
  Change(context, call, request.name(), ChangeConcurrency(request),
         [](const DeployedFunction& changed) {
           v1::SetConcurrencyResponse response;
           if (changed.facts->has_concurrency())
             response.set_concurrency(changed.facts->concurrency());
           return response;
         });
}

void Provision(ServiceContext& context, const CallPtr& call, const v1::ProvisionRequest& request) {
  auto function = ForChange(context, call, request);
  if (!function) return call->Fail(function.error());
  // What its client may keep ready, as it would be then.
  v1::FunctionFacts after = *(*function)->facts;
  const v1::Function& latest = (*function)->latest->function;
  const FunctionStore::ChangeFacts change = ChangeProvision(request);
  if (auto valid = change({latest, {}, after}, &after); !valid) return call->Fail(valid.error());
  if (auto room = CheckReserve(context, latest, after); request.instances() > 0 && !room)
    return call->Fail(room.error());
  Change(context, call, request.name(), change,
         [](const DeployedFunction&) { return v1::ProvisionResponse(); });
}

template <typename Request>
void Register(RpcServer& server, ServiceContext& context, const char* method,
              void (*serve)(ServiceContext&, const CallPtr&, const Request&)) {
  RegisterMethod<Request>(
      server, kService, method,
      [&context, serve](CallPtr call, Request& request) { serve(context, call, request); });
}

}  // namespace

void RegisterVersions(RpcServer& server, ServiceContext& context) {
  RegisterMethod<v1::PublishVersionRequest>(
      server, kService, "Publish", [&context](CallPtr call, v1::PublishVersionRequest& request) {
        Publish(context, call, request);
      });
  Register(server, context, "List", List);
  Register(server, context, "Remove", Remove);
  Register(server, context, "SetAlias", SetAlias);
  Register(server, context, "ListAliases", ListAliases);
  Register(server, context, "RemoveAlias", RemoveAlias);
  Register(server, context, "Tag", Tag);
  Register(server, context, "SetConcurrency", SetConcurrency);
  Register(server, context, "Provision", Provision);
}

}  // namespace spore
