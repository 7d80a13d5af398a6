// spore.v1.Invocations: requests to functions, and scripts and programs run once.
#include <algorithm>
#include <array>

#include "daemon/common/random_id.h"
#include "daemon/common/runtimes.h"
#include "daemon/common/validate.h"
#include "daemon/instances/program.h"
#include "daemon/instances/standard_stream.h"
#include "daemon/rpc/call_payload.h"
#include "daemon/rpc/payload.h"
#include "daemon/services/service_context.h"
#include "sandbox/policy/denied_calls.h"

namespace spore {
namespace {

constexpr char kService[] = "spore.v1.Invocations";
constexpr size_t kMaxScriptBytes = 1u << 20;
constexpr int kMaxArguments = 1024;
constexpr std::array<const char*, 3> kStreams = {"stdin", "stdout", "stderr"};
// A response that the caller wants inline must fit into one message, with its trace and tail.
constexpr size_t kMaxInlineResponse = 3u << 20;
using CallPtr = std::shared_ptr<Call>;

void AnswerInvoke(const CallPtr& call, bool takes_memfd, bool trace, const Work& work,
                  WorkResult result) {
  if (result.refused) return call->Fail(*result.refused);
  v1::InvokeResponse response;
  std::vector<UniqueFd> fds;
  if (result.error) {
    *response.mutable_error() = std::move(*result.error);
  } else if (result.payload.size() <= kInlinePayloadBytes ||
             (!takes_memfd && result.payload.size() <= kMaxInlineResponse)) {
    response.set_payload(std::move(result.payload));
  } else if (!takes_memfd) {
    return call->Fail({ErrorKind::kInvalid,
                       0,
                       "the response has " + std::to_string(result.payload.size()) +
                           " bytes, too many for a message",
                       {},
                       "ask with payload_response_attached"});
  } else {
    auto memfd = MakePayload(result.payload);
    if (!memfd) return call->Fail(memfd.error());
    fds.push_back(std::move(*memfd));
    response.set_payload_attached(true);
  }
  response.set_start_kind(result.start_kind);
  response.set_start_reason(std::move(result.start_reason));
  response.set_loaded_ahead(result.loaded_ahead);
  response.set_request_id(work.request_id);
  response.set_function_version(work.version->function.version());
  response.set_executed_version(VersionLabel(work.version->function));
  response.set_instance_id(std::move(result.instance_id));
  response.set_log_tail(std::move(result.log_tail));
  response.set_duration_us(result.duration_us);
  if (trace) *response.mutable_trace() = work.trace.Build(MonotonicNs());
  call->Reply(response, std::move(fds));
}

// At a limit, before there is anything for the invoker.
void RefuseCharge(ServiceContext& context, const CallPtr& call, const std::string& function,
                  const Error& error) {
  context.history.AddRefusal(function, call->peer().uid, CauseOf(error), error.operation);
  call->Fail(error);
}

void Submit(ServiceContext& context, const CallPtr& call, std::unique_ptr<Work> work) {
  const uint64_t id = context.invoker.Submit(std::move(work));
  call->OnCancel([&context, id] { context.invoker.Cancel(id); });
}

// Where an alias names two versions.
double Draw(const ServiceContext& context, const v1::InvokeRequest& request) {
  if (request.qualifier().empty()) return 0;
  const DeployedFunction* function = context.store.FindDeployed(request.name());
  if (function == nullptr || !IsDrawn(*function->facts, request.qualifier())) return 0;
  return RandomFraction();
}

void Invoke(ServiceContext& context, const CallPtr& call, v1::InvokeRequest& request) {
  auto version =
      FindVersion(context, request.name(), request.qualifier(), Draw(context, request),
                  [&](const v1::Function& function) { return MayInvoke(call->peer(), function); });
  if (!version) return call->Fail(version.error());
  const v1::Function& function = (*version)->function;
  auto payload = TakePayload(call, request, function.settings().limits().payload_bytes());
  if (!payload) return call->Fail(payload.error());
  if (auto valid = CheckClientContext(request.client_context()); !valid) {
    return call->Fail(valid.error());
  }
  auto charge =
      context.payloads.Take(call->peer().uid, payload->size() + request.client_context().size());
  if (!charge) return RefuseCharge(context, call, function.name(), charge.error());
  auto work = std::make_unique<Work>(call->received_ns());
  work->charge = std::move(*charge);
  work->version = *version;
  work->image = function.settings().image();
  work->qualifier = std::move(*request.mutable_qualifier());
  work->limits = function.settings().limits();
  work->limits.set_max_instances(MaxInstances(*context.store.FindDeployed(request.name())));
  work->isolation = function.settings().isolation();
  work->owner = function.owner_uid();
  work->request_id = NewRequestId();
  work->payload = std::move(*payload);
  work->client_context = std::move(*request.mutable_client_context());
  work->want_tail = request.log_tail();
  work->done = [call, memfd = request.payload_response_attached(), trace = request.trace()](
                   const Work& finished, WorkResult result) {
    AnswerInvoke(call, memfd, trace, finished, std::move(result));
  };
  Submit(context, call, std::move(work));
}

// Which then could not even be started.
bool DeniesExec(const ImageManifest& image) {
  const auto denied = DeniedCalls::Make(image.deny);
  return denied && std::find(denied->calls().begin(), denied->calls().end(), "execve") !=
                       denied->calls().end();
}

Result<> CheckRun(const ServiceContext& context, v1::RunRequest& request) {
  SPORE_ASSIGN(ZygoteImage * image, context.images.Find(request.runtime(), request.image()));
  request.set_image(image->manifest().name);
  if (request.script().size() > kMaxScriptBytes) {
    return MakeError(ErrorKind::kInvalid, "script: " + std::to_string(request.script().size()) +
                                              " bytes; expected at most " +
                                              std::to_string(kMaxScriptBytes));
  }
  if (request.args_size() > kMaxArguments) {
    return MakeError(ErrorKind::kInvalid, "args: " + std::to_string(request.args_size()) +
                                              "; expected at most " +
                                              std::to_string(kMaxArguments));
  }
  SPORE_TRY(ValidateEnvironment(request.environment()));
  SPORE_ASSIGN(*request.mutable_limits(),
               ResolveLimits(request.limits(), image->limits(), context.config.max_limits));
  // There is an image of it, so it is known.
  const RuntimeFacts& runtime = *FindRuntime(request.runtime());
  if (runtime.runs_programs && DeniesExec(image->manifest())) {
    return MakeError(ErrorKind::kPrecondition,
                     "image " + request.image() + " denies exec: it runs no programs");
  }
  if (runtime.runs_programs) return CheckProgramRequest(request);
  if (!request.program_attached()) return {};
  if (runtime.runs_archives) return CheckProgramRequest(request);
  return MakeError(ErrorKind::kInvalid,
                   "program_attached: true, but runtime " + request.runtime() + " runs scripts");
}

void Run(ServiceContext& context, const CallPtr& call, v1::RunRequest& request) {
  std::vector<ClientFd> fds = call->TakeFds();
  if (auto valid = CheckRun(context, request); !valid) return call->Fail(valid.error());
  if (fds.size() != kStreams.size() + (request.program_attached() ? 1 : 0)) {
    return call->Fail({ErrorKind::kInvalid,
                       0,
                       "run needs three descriptors: stdin, stdout, stderr; and the program, when "
                       "program_attached",
                       {},
                       {}});
  }
  for (size_t i = 0; i < kStreams.size(); ++i) {
    auto fit = CheckStandardStream(fds[i].get(), kStreams.at(i));
    if (!fit) return call->Fail(fit.error());
  }
  auto charge = context.payloads.Take(call->peer().uid, request.ByteSizeLong());
  if (!charge) return RefuseCharge(context, call, "", charge.error());
  auto work = std::make_unique<Work>(call->received_ns());
  if (request.program_attached()) {
    auto program = TakeProgram(fds.back(), request.limits());
    if (!program) return call->Fail(program.error());
    work->program = std::move(*program);
    fds.pop_back();
  }
  work->runs_program = FindRuntime(request.runtime())->runs_programs;
  work->charge = std::move(*charge);
  work->image = request.image();
  work->limits = request.limits();
  work->isolation = v1::ISOLATION_INVOCATION;
  work->owner = call->peer().uid;
  work->request_id = NewRequestId();
  work->standard_fds = std::move(fds);
  const bool trace = request.trace();
  work->run = std::move(request);
  work->done = [call, trace](const Work& finished, WorkResult result) {
    if (result.refused) return call->Fail(*result.refused);
    v1::RunResponse response;
    *response.mutable_death() = std::move(result.death);
    response.set_start_kind(result.start_kind);
    response.set_start_reason(std::move(result.start_reason));
    response.set_instance_id(std::move(result.instance_id));
    if (trace) *response.mutable_trace() = finished.trace.Build(MonotonicNs());
    call->Reply(response);
  };
  Submit(context, call, std::move(work));
}

}  // namespace

void RegisterInvocations(RpcServer& server, ServiceContext& context) {
  RegisterMethod<v1::InvokeRequest>(
      server, kService, "Invoke",
      [&context](CallPtr call, v1::InvokeRequest& request) { Invoke(context, call, request); },
      [](const v1::InvokeRequest& request) -> size_t {
        return request.payload_attached() ? 1 : 0;
      });
  RegisterMethod<v1::RunRequest>(
      server, kService, "Run",
      [&context](CallPtr call, v1::RunRequest& request) { Run(context, call, request); },
      [](const v1::RunRequest& request) -> size_t {
        return kStreams.size() + (request.program_attached() ? 1 : 0);
      });
}

}  // namespace spore
