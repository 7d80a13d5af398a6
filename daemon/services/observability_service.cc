// spore.v1.Observability: what the daemon has seen.
#include "daemon/history/history_readers.h"
#include "daemon/history/invocation_ledger.h"
#include "daemon/services/service_context.h"
#include "spore/v1/observability.pb.h"

namespace spore {
namespace {

constexpr char kService[] = "spore.v1.Observability";
constexpr uint32_t kMaxWaitMs = 60000;
using CallPtr = std::shared_ptr<Call>;

Result<VersionPtr> FindToSee(const ServiceContext& context, const CallPtr& call,
                             const std::string& name) {
  return FindFunction(context, name,
                      [&](const v1::Function& function) { return MaySee(call->peer(), function); });
}

void Histograms(ServiceContext& context, const CallPtr& call,
                const v1::HistogramsRequest& request) {
  const InvocationLedger& ledger = context.invoker.ledger();
  v1::HistogramsResponse response;
  if (request.function().empty()) {
    *response.mutable_figures() = ledger.Total();
  } else {
    auto version = FindToSee(context, call, request.function());
    if (!version) return call->Fail(version.error());
    *response.mutable_figures() = ledger.Of(request.function(), (*version)->function.owner_uid());
  }
  if (request.by_function() && request.function().empty()) {
    // An answer may have come after its function was removed.
    const auto visible = [&](const std::string& name, uid_t owner) {
      return MaySeeInstance(call->peer(), owner) && context.store.Find(name);
    };
    size_t bytes = 0;
    for (v1::Figures& figures : ledger.ByFunction(visible)) {
      bytes += figures.ByteSizeLong();
      if (bytes > kMaxListing) {
        figures.clear_total();
        figures.clear_phases();
      }
      *response.add_functions() = std::move(figures);
    }
  }
  for (const auto& [kind, count] : context.history.Counts())
    (*response.mutable_events())[kind] = count;
  response.set_epoch(context.history.epoch());
  call->Reply(response);
}

void Traces(ServiceContext& context, const CallPtr& call, const v1::TracesRequest& request) {
  auto version = FindToSee(context, call, request.function());
  if (!version) return call->Fail(version.error());
  const size_t most = request.limit() == 0 ? InvocationLedger::kTraces : request.limit();
  v1::TracesResponse response;
  for (v1::InvocationTrace& trace :
       context.invoker.ledger().Traces(request.function(), (*version)->function.owner_uid(), most))
    *response.add_traces() = std::move(trace);
  call->Reply(response);
}

Result<> Check(const History& history, const v1::RecentEventsRequest& request) {
  if (request.wait_ms() > kMaxWaitMs) {
    return MakeError(ErrorKind::kInvalid, "wait_ms: " + std::to_string(request.wait_ms()) +
                                              "; expected at most " + std::to_string(kMaxWaitMs));
  }
  if (request.after_sequence() == 0) return {};
  if (request.epoch().empty()) {
    return MakeError(ErrorKind::kInvalid, "epoch: empty, but after_sequence is " +
                                              std::to_string(request.after_sequence()) +
                                              "; expected the epoch that came with that number");
  }
  if (request.epoch() == history.epoch() && request.after_sequence() > history.last_sequence()) {
    return MakeError(ErrorKind::kInvalid,
                     "after_sequence: " + std::to_string(request.after_sequence()) +
                         "; the last event's is " + std::to_string(history.last_sequence()));
  }
  return {};
}

void RecentEvents(ServiceContext& context, const CallPtr& call, v1::RecentEventsRequest& request) {
  if (auto valid = Check(context.history, request); !valid) return call->Fail(valid.error());
  context.history_readers.Read(call, std::move(request));
}

}  // namespace

void RegisterObservability(RpcServer& server, ServiceContext& context) {
  RegisterMethod<v1::HistogramsRequest>(server, kService, "Histograms",
                                        [&context](CallPtr call, v1::HistogramsRequest& request) {
                                          Histograms(context, call, request);
                                        });
  RegisterMethod<v1::TracesRequest>(
      server, kService, "Traces",
      [&context](CallPtr call, v1::TracesRequest& request) { Traces(context, call, request); });
  RegisterMethod<v1::RecentEventsRequest>(
      server, kService, "RecentEvents", [&context](CallPtr call, v1::RecentEventsRequest& request) {
        RecentEvents(context, call, request);
      });
}

}  // namespace spore
