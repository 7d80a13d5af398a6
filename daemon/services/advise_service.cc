// spore.v1.Functions.Advise: one load of a function, measured.
#include <nlohmann/json.hpp>

#include "daemon/common/random_id.h"
#include "daemon/common/runtimes.h"
#include "daemon/functions/advice.h"
#include "daemon/services/service_context.h"

namespace spore {
namespace {

using CallPtr = std::shared_ptr<Call>;

// Of 200 modules with long names, with room to spare.
constexpr uint64_t kMaxReport = 256u << 10;

void Answer(const CallPtr& call, const ImageManifest& image, const v1::Function& function,
            const WorkResult& result) {
  if (result.refused) return call->Fail(*result.refused);
  if (result.error) {
    return call->Fail({ErrorKind::kPrecondition,
                       0,
                       "function \"" + function.name() + "\" cannot be loaded: " +
                           result.error->type() + ": " + result.error->message().substr(0, 1024),
                       {},
                       {}});
  }
  auto measured = ParseMeasurement(result.payload);
  if (!measured) {
    return call->Fail({ErrorKind::kPrecondition,
                       0,
                       "function \"" + function.name() +
                           "\" did not say what its load took: " + measured.error().Message(),
                       {},
                       {}});
  }
  v1::AdviseResponse advice = MakeAdvice(image, *measured, function.settings().libraries());
  advice.set_function(function.name());
  advice.set_function_version(function.version());
  call->Reply(advice);
}

void Advise(ServiceContext& context, const CallPtr& call, const v1::AdviseRequest& request) {
  auto version = FindFunction(context, request.name(), [&](const v1::Function& function) {
    return MayInvoke(call->peer(), function);
  });
  if (!version) return call->Fail(version.error());
  const v1::Function& function = (*version)->function;
  const v1::FunctionSettings& settings = function.settings();
  auto image = context.images.Find(settings.runtime(), settings.image());
  if (!image) return call->Fail(image.error());
  if (!FindRuntime(settings.runtime())->measures_loads) {
    return call->Fail({ErrorKind::kPrecondition,
                       0,
                       "advise: runtime " + settings.runtime() +
                           " cannot tell what importing takes; python and node can",
                       {},
                       {}});
  }
  const ImageManifest& manifest = (*image)->manifest();
  auto work = std::make_unique<Work>(call->received_ns());
  work->version = *version;
  work->image = settings.image();
  work->limits = settings.limits();
  work->limits.set_response_bytes(kMaxReport);
  work->limits.set_max_instances(MaxInstances(*context.store.FindDeployed(request.name())));
  work->isolation = v1::ISOLATION_INVOCATION;
  work->owner = function.owner_uid();
  work->request_id = NewRequestId();
  work->payload = nlohmann::json{{"watch", ModulesOfSets(manifest)}}.dump();
  work->measure = true;
  work->done = [call, &manifest](const Work& finished, WorkResult result) {
    Answer(call, manifest, finished.version->function, result);
  };
  const uint64_t id = context.invoker.Submit(std::move(work));
  call->OnCancel([&context, id] { context.invoker.Cancel(id); });
}

}  // namespace

void RegisterAdvice(RpcServer& server, ServiceContext& context) {
  RegisterMethod<v1::AdviseRequest>(
      server, "spore.v1.Functions", "Advise",
      [&context](CallPtr call, v1::AdviseRequest& request) { Advise(context, call, request); });
}

}  // namespace spore
