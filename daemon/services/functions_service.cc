// spore.v1.Functions: deployed code.
#include "daemon/common/runtimes.h"
#include "daemon/common/validate.h"
#include "daemon/rpc/payload.h"
#include "daemon/services/service_context.h"

namespace spore {

Result<> CheckReserve(const ServiceContext& context, const v1::Function& function,
                      const v1::FunctionFacts& facts) {
  uint64_t count = function.settings().min_instances() + ProvisionedOf(facts);
  if (count == 0 || function.owner_uid() == 0) return {};
  context.store.ForEach("", [&](const DeployedFunction& deployed) {
    const v1::Function& other = deployed.latest->function;
    if (other.owner_uid() == function.owner_uid() && other.name() != function.name())
      count += other.settings().min_instances() + ProvisionedOf(*deployed.facts);
    return true;
  });
  const uint32_t most = context.config.client.max_reserved;
  if (count <= most) return {};
  return MakeError(ErrorKind::kOverloaded,
                   "uid " + std::to_string(function.owner_uid()) + " would reserve " +
                       std::to_string(count) + " instances, of the " + std::to_string(most) +
                       " that it may (limits-per-client.max-reserved)",
                   "ask for fewer with --min-instances or function provision");
}

Result<> CheckFunctionCount(ServiceContext& context, uid_t owner) {
  if (owner == 0) return {};
  const auto deploying = context.deploying.find(owner);
  size_t count = deploying == context.deploying.end() ? 0 : deploying->second;
  context.store.ForEach("", [&](const DeployedFunction& deployed) {
    if (deployed.latest->function.owner_uid() == owner)
      count += 1 + static_cast<size_t>(deployed.facts->published_size());
    return true;
  });
  if (count < context.config.client.max_functions) return {};
  return MakeError(ErrorKind::kOverloaded,
                   "uid " + std::to_string(owner) + " has " + std::to_string(count) +
                       " functions and published versions, the most it may have "
                       "(limits-per-client.max-functions)",
                   "remove one first");
}

v1::Function DescribeFunction(const ServiceContext& context, const DeployedFunction& function,
                              const v1::Function& version) {
  v1::Function described = version;
  described.set_instances(context.invoker.LiveOf(version.name()));
  const v1::FunctionFacts& facts = *function.facts;
  *described.mutable_tags() = facts.tags();
  if (facts.has_concurrency()) described.set_concurrency(facts.concurrency());
  described.set_revision_id(RevisionId(function.latest->function, facts));
  return described;
}

namespace {

constexpr char kService[] = "spore.v1.Functions";
using CallPtr = std::shared_ptr<Call>;

// The version of an image that a function is about to be pinned to; while this is held the version
// cannot be removed.
using ImageHold = std::shared_ptr<void>;

// Text in an error is a protobuf string: what a client sent there is UTF-8 already. `base`: of the
// limits; null: the image's.
Result<ImageHold> ResolveSettings(const ServiceContext& context, const v1::Limits* base,
                                  v1::Function& function) {
  v1::FunctionSettings& settings = *function.mutable_settings();
  SPORE_ASSIGN(ZygoteImage * image, context.images.Find(settings.runtime(), settings.image()));
  settings.set_image(image->manifest().name);
  function.set_image_digest(image->manifest().root.digest);
  if (settings.libraries() == "auto") settings.clear_libraries();
  if (!settings.libraries().empty() && settings.libraries() != "none" &&
      image->manifest().FindSet(settings.libraries()) == nullptr) {
    Error error = image->NoSuchSet(settings.libraries());
    error.operation = "libraries: " + error.operation;
    return tl::unexpected(std::move(error));
  }
  if (settings.handler().empty())
    settings.set_handler(std::string(FindRuntime(settings.runtime())->default_handler));
  SPORE_TRY(ValidateHandler(settings.runtime(), settings.handler()));
  SPORE_TRY(ValidateEnvironment(settings.environment()));
  SPORE_TRY(ValidateDescription(settings.description()));
  if (!v1::Isolation_IsValid(settings.isolation())) {
    return MakeError(ErrorKind::kInvalid,
                     "isolation: " + std::to_string(settings.isolation()) + "; expected 0, 1 or 2");
  }
  if (settings.isolation() == v1::ISOLATION_UNSPECIFIED) {
    settings.set_isolation(v1::ISOLATION_INSTANCE);
  }
  SPORE_ASSIGN(*settings.mutable_limits(),
               ResolveLimits(settings.limits(), base != nullptr ? *base : image->limits(),
                             context.config.max_limits));
  if (settings.min_instances() <= settings.limits().max_instances())
    return context.images.Hold(image->manifest().name);
  return MakeError(ErrorKind::kInvalid,
                   "min_instances: " + std::to_string(settings.min_instances()) +
                       " is out of range; expected at most max_instances, " +
                       std::to_string(settings.limits().max_instances()));
}

constexpr size_t kMaxInlineArchive = 3u << 20;  // of the 4 MiB that a message holds
constexpr char kNoArchive[] =
    "archive: neither in the message nor in a descriptor with it; expected one of them";
constexpr char kTwoArchives[] =
    "archive: in the message and in a descriptor with it; expected one of them";

struct Archive {
  UniqueFd memfd;  // none: an update without one
  // For one that came in a message: its memory is ours, as that of what a client passes is not.
  PayloadBudget::Charge charge;
};

// The store's thread has more to do than to wait for whatever else a client may have passed.
Result<UniqueFd> TakeArchive(ClientFd& fd) {
  if (!ClosesAtOnce(fd.get()))
    return MakeError(ErrorKind::kInvalid, "archive: the descriptor is no sealed memfd");
  return fd.Take();
}

// What came in the message is made what a descriptor would be; from there on all is the same.
template <typename Request>
Result<Archive> TakeArchive(ServiceContext& context, const Call& call, Request& request,
                            std::vector<ClientFd>& fds) {
  Archive archive;
  if (!fds.empty() && request.has_archive()) return MakeError(ErrorKind::kInvalid, kTwoArchives);
  if (!fds.empty()) {
    SPORE_ASSIGN(archive.memfd, TakeArchive(fds.front()));
  } else if (request.has_archive()) {
    const std::string bytes = std::move(*request.mutable_archive());
    if (bytes.size() > kMaxInlineArchive)
      return MakeError(ErrorKind::kInvalid,
                       "archive: " + std::to_string(bytes.size()) + " bytes; expected at most " +
                           std::to_string(kMaxInlineArchive) + " in a message",
                       "a larger one travels as a descriptor: use spore function deploy or update");
    SPORE_ASSIGN(archive.charge, context.payloads.Take(call.peer().uid, bytes.size()));
    SPORE_ASSIGN(archive.memfd, MakePayload(bytes));
  }
  return archive;
}

std::shared_ptr<PayloadBudget::Charge> Shared(Archive& archive) {
  return std::make_shared<PayloadBudget::Charge>(std::move(archive.charge));
}

void AnswerVersion(ServiceContext& context, const CallPtr& call, const Result<VersionPtr>& stored) {
  if (!stored) return call->Fail(stored.error());
  const v1::Function& function = (*stored)->function;
  const DeployedFunction& deployed = *context.store.FindDeployed(function.name());
  context.invoker.FunctionChanged(deployed);
  TellFunction(
      context,
      function.version() == 1 ? v1::HostEvent::FUNCTION_DEPLOYED : v1::HostEvent::FUNCTION_UPDATED,
      function, "version " + std::to_string(function.version()));
  call->Reply(DescribeFunction(context, deployed, function));
}

void Deploy(ServiceContext& context, const CallPtr& call, v1::DeployRequest& request) {
  std::vector<ClientFd> fds = call->TakeFds();
  if (auto valid = ValidateFunctionName(request.name()); !valid) return call->Fail(valid.error());
  // Before anything else is looked at: the name is what the caller most likely got wrong.
  if (context.store.Find(request.name())) {
    return call->Fail({ErrorKind::kExists,
                       0,
                       "function \"" + request.name() + "\" exists already",
                       {},
                       "use update, or another name"});
  }
  v1::Function function;
  function.set_name(request.name());
  function.set_owner_uid(call->peer().uid);
  *function.mutable_settings() = std::move(*request.mutable_settings());
  auto resolved = ResolveSettings(context, nullptr, function);
  if (!resolved) return call->Fail(resolved.error());
  if (auto room = CheckReserve(context, function, {}); !room) return call->Fail(room.error());
  const uid_t owner = call->peer().uid;
  if (auto room = CheckFunctionCount(context, owner); !room) return call->Fail(room.error());
  auto archive = TakeArchive(context, *call, request, fds);
  if (!archive) return call->Fail(archive.error());
  ++context.deploying[owner];
  context.store.Deploy(std::move(function), std::move(archive->memfd),
                       [&context, call, owner, hold = *resolved,
                        charge = Shared(*archive)](Result<VersionPtr> stored) {
                         if (--context.deploying[owner] == 0) context.deploying.erase(owner);
                         AnswerVersion(context, call, stored);
                       });
}

// `asked` over `current`: what is empty stays.
v1::FunctionSettings Merge(const v1::FunctionSettings& current, const v1::UpdateRequest& request) {
  v1::FunctionSettings merged = current;
  const v1::FunctionSettings& asked = request.settings();
  if (!asked.runtime().empty()) {
    merged.set_runtime(asked.runtime());
    // The old image belongs to the old runtime.
    if (asked.runtime() != current.runtime()) merged.clear_image();
  }
  if (!asked.image().empty()) merged.set_image(asked.image());
  if (merged.image() != current.image()) merged.clear_libraries();  // they are of the old one
  if (!asked.libraries().empty()) merged.set_libraries(asked.libraries());
  if (!asked.handler().empty()) merged.set_handler(asked.handler());
  if (asked.isolation() != v1::ISOLATION_UNSPECIFIED) merged.set_isolation(asked.isolation());
  if (!request.keep_environment()) *merged.mutable_environment() = asked.environment();
  *merged.mutable_limits() = asked.limits();
  if (asked.has_description()) merged.set_description(asked.description());
  if (asked.has_min_instances()) merged.set_min_instances(asked.min_instances());
  return merged;
}

void Update(ServiceContext& context, const CallPtr& call, v1::UpdateRequest& request) {
  std::vector<ClientFd> fds = call->TakeFds();
  auto version = FindFunction(context, request.name(), [&](const v1::Function& function) {
    return MayChange(call->peer(), function);
  });
  if (!version) return call->Fail(version.error());
  v1::Function function = (*version)->function;
  const v1::Limits current = function.settings().limits();
  *function.mutable_settings() = Merge(function.settings(), request);
  auto resolved = ResolveSettings(context, &current, function);
  if (!resolved) return call->Fail(resolved.error());
  const v1::FunctionFacts& facts = *context.store.FindDeployed(request.name())->facts;
  if (auto room = CheckReserve(context, function, facts); !room) return call->Fail(room.error());
  if (auto room = CheckKeptReady(function, facts); !room) return call->Fail(room.error());
  function.set_revision_id(request.revision_id());
  auto archive = TakeArchive(context, *call, request, fds);
  if (!archive) return call->Fail(archive.error());
  context.store.Update(std::move(function), std::move(archive->memfd),
                       [&context, call, hold = *resolved, charge = Shared(*archive)](
                           Result<VersionPtr> stored) { AnswerVersion(context, call, stored); });
}

void Get(ServiceContext& context, const CallPtr& call, v1::GetFunctionRequest& request) {
  auto version =
      FindVersion(context, request.name(), request.qualifier(), 1,
                  [&](const v1::Function& function) { return MaySee(call->peer(), function); });
  if (!version) return call->Fail(version.error());
  const DeployedFunction& deployed = *context.store.FindDeployed(request.name());
  call->Reply(DescribeFunction(context, deployed, (*version)->function));
}

void List(ServiceContext& context, const CallPtr& call, const v1::ListFunctionsRequest& request) {
  v1::ListFunctionsResponse response;
  ListPage page(request.limit());
  context.store.ForEach(request.marker(), [&](const DeployedFunction& deployed) {
    const v1::Function& function = deployed.latest->function;
    if (!MaySee(call->peer(), function)) return true;
    v1::Function described = DescribeFunction(context, deployed, function);
    if (!page.Takes(described)) {
      response.set_next_marker(response.functions(response.functions_size() - 1).name());
      return false;
    }
    *response.add_functions() = std::move(described);
    return true;
  });
  call->Reply(response);
}

void Remove(ServiceContext& context, const CallPtr& call, v1::RemoveFunctionRequest& request) {
  auto version = FindFunction(context, request.name(), [&](const v1::Function& function) {
    return MayChange(call->peer(), function);
  });
  // A function that is damaged on disk cannot be found; root can still remove it.
  if (!version && call->peer().uid != 0) return call->Fail(version.error());
  if (auto valid = ValidateFunctionName(request.name()); !valid) return call->Fail(version.error());
  const std::string& name = request.name();
  v1::Function function;  // one that is damaged has none to tell of
  if (version) function = (*version)->function;
  function.set_name(name);
  context.store.Remove(name, [&context, call, name, function](Result<> removed) {
    if (!removed) return call->Fail(removed.error());
    TellFunction(context, v1::HostEvent::FUNCTION_REMOVED, function, "");
    context.invoker.FunctionRemoved(name);
    context.async.FunctionRemoved(name);
    context.logs.Forget(name);
    call->Reply(v1::RemoveFunctionResponse());
  });
}

}  // namespace

void RegisterFunctions(RpcServer& server, ServiceContext& context) {
  RegisterMethod<v1::DeployRequest>(
      server, kService, "Deploy",
      [&context](CallPtr call, v1::DeployRequest& request) { Deploy(context, call, request); },
      [](const v1::DeployRequest& request) {
        return request.has_archive() ? FdNeed(0, nullptr, kTwoArchives) : FdNeed(1, kNoArchive);
      });
  RegisterMethod<v1::UpdateRequest>(
      server, kService, "Update",
      [&context](CallPtr call, v1::UpdateRequest& request) { Update(context, call, request); },
      [](const v1::UpdateRequest& request) {
        const size_t count = request.archive_attached() ? 1 : 0;
        return FdNeed(count, "archive_attached, but no descriptor came",
                      request.has_archive() ? kTwoArchives : nullptr);
      });
  RegisterMethod<v1::GetFunctionRequest>(
      server, kService, "Get",
      [&context](CallPtr call, v1::GetFunctionRequest& request) { Get(context, call, request); });
  RegisterMethod<v1::ListFunctionsRequest>(
      server, kService, "List", [&context](CallPtr call, v1::ListFunctionsRequest& request) {
        List(context, call, request);
      });
  RegisterMethod<v1::RemoveFunctionRequest>(
      server, kService, "Remove", [&context](CallPtr call, v1::RemoveFunctionRequest& request) {
        Remove(context, call, request);
      });
}

}  // namespace spore
