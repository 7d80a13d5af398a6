// spore.v1.Async: events.
#include <algorithm>

#include "daemon/common/validate.h"
#include "daemon/rpc/call_payload.h"
#include "daemon/services/service_context.h"

namespace spore {
namespace {

constexpr char kService[] = "spore.v1.Async";
constexpr uint32_t kMostListed = 1000;
constexpr uint32_t kListed = 100;
constexpr uint32_t kMostRetries = 100;
constexpr uint64_t kMostAgeMs = 14ull * 86'400'000;
constexpr uint64_t kMostBackoffMs = 3'600'000;
using CallPtr = std::shared_ptr<Call>;

// Whose events the peer may see: all, or his own.
std::optional<uid_t> VisibleTo(const Peer& peer) {
  return SeesAll(peer) ? std::nullopt : std::optional<uid_t>(peer.uid);
}

void Invoke(ServiceContext& context, const CallPtr& call, v1::AsyncInvokeRequest& request) {
  // Of an alias with two versions the first tells the limit; each attempt draws anew.
  auto version =
      FindVersion(context, request.name(), request.qualifier(), 1,
                  [&](const v1::Function& function) { return MayInvoke(call->peer(), function); });
  if (!version) return call->Fail(version.error());
  const v1::Limits& limits = (*version)->function.settings().limits();
  auto payload = TakePayload(call, request, limits.payload_bytes());
  if (!payload) return call->Fail(payload.error());
  if (auto valid = CheckClientContext(request.client_context()); !valid)
    return call->Fail(valid.error());
  auto charge =
      context.payloads.Take(call->peer().uid, payload->size() + request.client_context().size());
  if (!charge) return call->Fail(charge.error());
  AsyncDispatcher::Asked asked;
  asked.version = *version;
  asked.payload = std::move(*payload);
  asked.client_context = std::move(*request.mutable_client_context());
  asked.qualifier = std::move(*request.mutable_qualifier());
  // Until it is on disk.
  auto held = std::make_shared<PayloadBudget::Charge>(std::move(*charge));
  context.async.Accept(std::move(asked), [call, held](const Result<std::string>& id) {
    if (!id) return call->Fail(id.error());
    v1::AsyncInvokeResponse response;
    response.set_id(*id);
    call->Reply(response);
  });
}

Result<std::vector<v1::AsyncEvent::State>> TakeStates(
    const google::protobuf::RepeatedField<int>& asked) {
  std::vector<v1::AsyncEvent::State> states;
  for (const int state : asked) {
    if (!v1::AsyncEvent::State_IsValid(state) || state == v1::AsyncEvent::STATE_UNSPECIFIED)
      return MakeError(ErrorKind::kInvalid,
                       "states: " + std::to_string(state) + "; expected 1 to 5");
    states.push_back(static_cast<v1::AsyncEvent::State>(state));
  }
  return states;
}

bool Contains(const std::vector<v1::AsyncEvent::State>& states, v1::AsyncEvent::State state) {
  return states.empty() || std::find(states.begin(), states.end(), state) != states.end();
}

void List(ServiceContext& context, const CallPtr& call, v1::ListEventsRequest& request) {
  auto states = TakeStates(request.states());
  if (!states) return call->Fail(states.error());
  if (request.limit() > kMostListed) {
    return call->Fail({ErrorKind::kInvalid,
                       0,
                       "limit: " + std::to_string(request.limit()) + "; expected at most " +
                           std::to_string(kMostListed),
                       {},
                       {}});
  }
  EventFilter filter;
  filter.owner = VisibleTo(call->peer());
  filter.function = request.function();
  filter.states = *states;
  // What runs is on disk as waiting.
  if (Contains(*states, v1::AsyncEvent::RUNNING) && !states->empty())
    filter.states.push_back(v1::AsyncEvent::WAITING);
  filter.limit = request.limit() == 0 ? kListed : request.limit();
  if (request.before() != 0)
    filter.before = static_cast<int64_t>(std::min<uint64_t>(request.before(), INT64_MAX));
  auto rows = std::make_shared<std::vector<StoredEvent>>();
  context.async.store().Submit(
      AsyncStore::Kind::kRead,
      [rows, filter](AsyncDisk& disk) -> Result<> {
        SPORE_ASSIGN(*rows, disk.List(filter));
        return {};
      },
      [&context, call, rows, states = *states, limit = filter.limit](const Result<>& read) {
        if (!read) return call->Fail(read.error());
        v1::ListEventsResponse response;
        if (rows->size() == limit) response.set_next(static_cast<uint64_t>(rows->back().seq));
        for (StoredEvent& row : *rows) {
          if (context.async.IsRunning(row.seq)) row.event.set_state(v1::AsyncEvent::RUNNING);
          if (!Contains(states, row.event.state())) continue;
          // A listing of errors with their stacks could be longer than a message.
          row.event.mutable_error()->clear_stack_trace();
          if (row.event.error().type().empty()) row.event.clear_error();
          *response.add_events() = std::move(row.event);
        }
        call->Reply(response);
      });
}

void Get(ServiceContext& context, const CallPtr& call, v1::GetEventRequest& request) {
  auto found = std::make_shared<StoredEvent>();
  context.async.store().Submit(
      AsyncStore::Kind::kRead,
      [found, id = request.id(), owner = VisibleTo(call->peer())](AsyncDisk& disk) -> Result<> {
        SPORE_ASSIGN(*found, disk.Find(id, owner));
        return {};
      },
      [&context, call, found](const Result<>& read) {
        if (!read) return call->Fail(read.error());
        v1::AsyncEvent& event = found->event;
        if (context.async.IsRunning(found->seq)) event.set_state(v1::AsyncEvent::RUNNING);
        if (event.payload().size() > kInlinePayloadBytes) event.clear_payload();
        call->Reply(event);
      });
}

void Retry(ServiceContext& context, const CallPtr& call, const v1::RetryEventRequest& request) {
  context.async.Retry(request.id(), VisibleTo(call->peer()), [call](Result<v1::AsyncEvent> event) {
    if (!event) return call->Fail(event.error());
    event->clear_payload();
    call->Reply(*event);
  });
}

void Purge(ServiceContext& context, const CallPtr& call, const v1::PurgeEventsRequest& request) {
  const auto answer = [call](const Result<uint64_t>& purged) {
    if (!purged) return call->Fail(purged.error());
    v1::PurgeEventsResponse response;
    response.set_purged(*purged);
    call->Reply(response);
  };
  if (!request.id().empty())
    return context.async.PurgeOne(request.id(), VisibleTo(call->peer()), answer);
  auto states = TakeStates(request.states());
  if (!states) return call->Fail(states.error());
  if (states->empty() ||
      std::find(states->begin(), states->end(), v1::AsyncEvent::RUNNING) != states->end()) {
    return call->Fail({ErrorKind::kInvalid,
                       0,
                       "states: name an id, or what to purge: WAITING, DONE, FAILED, DEAD",
                       {},
                       {}});
  }
  EventFilter filter;
  filter.owner = VisibleTo(call->peer());
  filter.function = request.function();
  filter.states = *states;
  context.async.PurgeAll(std::move(filter), answer);
}

Result<> CheckRange(const char* field, uint64_t value, uint64_t least, uint64_t most) {
  if (value >= least && value <= most) return {};
  return MakeError(ErrorKind::kInvalid, std::string(field) + ": " + std::to_string(value) +
                                            " is out of range; expected " + std::to_string(least) +
                                            " to " + std::to_string(most));
}

// A destination is the owner's own: nobody else's function is told what his events held.
Result<> CheckDestination(const ServiceContext& context, const char* field, const std::string& name,
                          uid_t owner) {
  if (name.empty()) return {};
  const VersionPtr version = context.store.Find(name);
  if (version && version->function.owner_uid() == owner) return {};
  return MakeError(ErrorKind::kNotFound, std::string(field) + ": no function \"" +
                                             name.substr(0, 64) + "\" of uid " +
                                             std::to_string(owner));
}

void SetPolicy(ServiceContext& context, const CallPtr& call,
               const v1::SetAsyncPolicyRequest& request) {
  auto version = FindFunction(context, request.function(), [&](const v1::Function& function) {
    return MayChange(call->peer(), function);
  });
  if (!version) return call->Fail(version.error());
  v1::AsyncPolicy policy = context.async.PolicyOf(request.function());
  if (request.has_retries()) policy.set_retries(request.retries());
  if (request.has_max_age_ms()) policy.set_max_age_ms(request.max_age_ms());
  if (request.has_backoff_ms()) policy.set_backoff_ms(request.backoff_ms());
  if (request.has_on_success()) policy.set_on_success(request.on_success());
  if (request.has_on_failure()) policy.set_on_failure(request.on_failure());
  const auto check = [&]() -> Result<> {
    const uid_t owner = (*version)->function.owner_uid();
    SPORE_TRY(CheckRange("retries", policy.retries(), 0, kMostRetries));
    SPORE_TRY(CheckRange("max_age_ms", policy.max_age_ms(), 1000, kMostAgeMs));
    SPORE_TRY(CheckRange("backoff_ms", policy.backoff_ms(), 1, kMostBackoffMs));
    if (request.has_on_success())
      SPORE_TRY(CheckDestination(context, "on_success", policy.on_success(), owner));
    if (request.has_on_failure() && policy.on_failure() != "none")
      SPORE_TRY(CheckDestination(context, "on_failure", policy.on_failure(), owner));
    return {};
  };
  if (auto valid = check(); !valid) return call->Fail(valid.error());
  context.async.SetPolicy(policy, [call, policy](const Result<>& stored) {
    if (!stored) return call->Fail(stored.error());
    call->Reply(policy);
  });
}

void GetPolicy(ServiceContext& context, const CallPtr& call,
               const v1::GetAsyncPolicyRequest& request) {
  auto version = FindFunction(context, request.function(), [&](const v1::Function& function) {
    return MaySee(call->peer(), function);
  });
  if (!version) return call->Fail(version.error());
  call->Reply(context.async.PolicyOf(request.function()));
}

template <typename Request>
void Register(RpcServer& server, ServiceContext& context, const char* method,
              void (*handler)(ServiceContext&, const CallPtr&, Request&)) {
  RegisterMethod<std::remove_const_t<Request>>(
      server, kService, method,
      [&context, handler](CallPtr call, std::remove_const_t<Request>& request) {
        handler(context, call, request);
      });
}

}  // namespace

void RegisterAsync(RpcServer& server, ServiceContext& context) {
  RegisterMethod<v1::AsyncInvokeRequest>(
      server, kService, "Invoke",
      [&context](CallPtr call, v1::AsyncInvokeRequest& request) { Invoke(context, call, request); },
      [](const v1::AsyncInvokeRequest& request) -> size_t {
        return request.payload_attached() ? 1 : 0;
      });
  Register(server, context, "List", List);
  Register(server, context, "Get", Get);
  Register(server, context, "Retry", Retry);
  Register(server, context, "Purge", Purge);
  Register(server, context, "SetPolicy", SetPolicy);
  Register(server, context, "GetPolicy", GetPolicy);
  RegisterMethod<v1::AsyncStatsRequest>(
      server, kService, "Stats",
      [&context](CallPtr call, v1::AsyncStatsRequest&) { call->Reply(context.async.Describe()); });
}

}  // namespace spore
