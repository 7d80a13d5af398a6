// spore.v1.Sandboxes: sessions themselves. What is done in them: sandboxes_exec_service.cc,
// sandboxes_files_service.cc; their copies: sandboxes_branch_service.cc.
#include "daemon/services/sandboxes_service.h"

#include <algorithm>
#include <cctype>

#include "daemon/common/runtimes.h"
#include "daemon/common/validate.h"
#include "daemon/sessions/session_egress.h"

namespace spore {
namespace {

constexpr char kDefaultImage[] = "python";
constexpr uint64_t kMinTtlMs = 1000, kMaxTtlMs = 86'400'000, kDefaultTtlMs = 600'000;
constexpr size_t kMaxLabelBytes = 64;
constexpr uint64_t kMaxOutputBytes = 1u << 20;

// Those of an invocation mean nothing here, and whoever sets one expects something of it.
Result<> CheckForeignLimits(const v1::Limits& limits) {
  for (const auto& [name, value] :
       {std::pair<const char*, uint64_t>{"timeout_ms", limits.timeout_ms()},
        {"payload_bytes", limits.payload_bytes()},
        {"response_bytes", limits.response_bytes()},
        {"max_instances", limits.max_instances()},
        {"idle_ms", limits.idle_ms()}}) {
    if (value == 0) continue;
    return MakeError(ErrorKind::kInvalid,
                     std::string("limits.") + name + ": " + std::to_string(value) +
                         "; expected 0: it does not concern a session",
                     "see ttl_ms and idle_timeout_ms");
  }
  if (limits.output_bytes() <= kMaxOutputBytes) return {};
  return MakeError(ErrorKind::kInvalid,
                   "limits.output_bytes: " + std::to_string(limits.output_bytes()) +
                       " is out of range; expected 1 to 1048576");
}

Result<SessionSettings> SettingsOf(ServiceContext& context, const Call& call,
                                   v1::CreateSandboxRequest& request) {
  if (request.image().empty()) request.set_image(kDefaultImage);
  SPORE_ASSIGN(ZygoteImage * image, context.images.FindNamed(request.image()));
  request.set_image(image->manifest().name);
  SPORE_TRY(CheckLabel(request.label()));
  SPORE_TRY(ValidateEnvironment(request.environment()));
  SPORE_TRY(CheckForeignLimits(request.limits()));
  SessionSettings settings;
  SPORE_ASSIGN(settings.limits,
               ResolveLimits(request.limits(), image->limits(), context.config.max_limits));
  settings.limits.set_output_bytes(std::min(settings.limits.output_bytes(), kMaxOutputBytes));
  settings.limits.clear_timeout_ms();
  settings.limits.clear_payload_bytes();
  settings.limits.clear_response_bytes();
  settings.limits.clear_max_instances();
  settings.limits.clear_idle_ms();
  settings.ttl_ms = request.ttl_ms() == 0 ? kDefaultTtlMs : request.ttl_ms();
  SPORE_TRY(CheckTtl(settings.ttl_ms));
  if (request.idle_timeout_ms() > kMaxTtlMs) {
    return MakeError(ErrorKind::kInvalid,
                     "idle_timeout_ms: " + std::to_string(request.idle_timeout_ms()) +
                         " is out of range; expected 0 to 86400000");
  }
  settings.idle_timeout_ms = request.idle_timeout_ms();
  settings.label = request.label();
  settings.owner = call.peer().uid;
  settings.language = FindRuntime(image->manifest().runtime)->code_language;
  SPORE_ASSIGN(settings.egress, ParseNetwork(request.network(), context.config.sessions));
  for (const auto& [name, value] : request.environment()) settings.environment[name] = value;
  return settings;
}

void Create(ServiceContext& context, const CallPtr& call, v1::CreateSandboxRequest& request) {
  auto settings = SettingsOf(context, *call, request);
  if (!settings) return call->Fail(settings.error());
  const std::string id = context.sessions.Create(request.image(), std::move(*settings),
                                                 [call](Result<Session*> session) {
                                                   if (!session) return call->Fail(session.error());
                                                   call->Reply((*session)->Describe());
                                                 });
  call->OnCancel([&context, id] { context.sessions.CancelCreate(id); });
}

void List(ServiceContext& context, const CallPtr& call, v1::ListSandboxesRequest& request) {
  v1::ListSandboxesResponse response;
  const auto visible = [&](uid_t owner) { return MaySeeInstance(call->peer(), owner); };
  for (v1::Session& session : context.sessions.List(request.include_dead(), visible))
    *response.add_sessions() = std::move(session);
  call->Reply(response);
}

void Inspect(ServiceContext& context, const CallPtr& call, v1::InspectSandboxRequest& request) {
  auto found = FindSession(context, *call, request.id());
  if (!found) return call->Fail(found.error());
  call->Reply(found->live != nullptr ? found->live->Describe() : *found->dead);
}

void Kill(ServiceContext& context, const CallPtr& call, v1::KillSandboxRequest& request) {
  auto found = FindSession(context, *call, request.id());
  if (!found) return call->Fail(found.error());
  if (found->live == nullptr) return call->Reply(*found->dead);
  Session* const session = found->live;
  session->OnGone([call, session] { call->Reply(session->Describe()); });
  session->Kill(v1::Death::KILLED, "killed on request");
}

void Extend(ServiceContext& context, const CallPtr& call, v1::ExtendSandboxRequest& request) {
  auto session = LiveSession(context, *call, request.id());
  if (!session) return call->Fail(session.error());
  if (auto valid = CheckTtl(request.ttl_ms()); !valid) return call->Fail(valid.error());
  (*session)->Extend(request.ttl_ms());
  call->Reply((*session)->Describe());
}

void Freeze(ServiceContext& context, const CallPtr& call, const std::string& id, bool freeze) {
  auto session = LiveSession(context, *call, id);
  if (!session) return call->Fail(session.error());
  (*session)->Freeze(freeze, [call, session = *session](Result<> done) {
    if (!done) return call->Fail(done.error());
    call->Reply(session->Describe());
  });
}

void Pause(ServiceContext& context, const CallPtr& call, v1::PauseSandboxRequest& request) {
  Freeze(context, call, request.id(), true);
}
void Resume(ServiceContext& context, const CallPtr& call, v1::ResumeSandboxRequest& request) {
  Freeze(context, call, request.id(), false);
}

void ReadLogs(ServiceContext& context, const CallPtr& call, v1::ReadSandboxLogsRequest& request) {
  auto found = FindSession(context, *call, request.id());
  if (!found) return call->Fail(found.error());
  if (auto valid = CheckWait(request.wait_ms()); !valid) return call->Fail(valid.error());
  const std::shared_ptr<SessionLog> log = found->log;
  if (!log) return call->Reply(v1::ReadLogsResponse());
  const uint64_t id =
      log->Read(request.cursor(), request.tail(), std::chrono::milliseconds(request.wait_ms()),
                [call](const v1::ReadLogsResponse& response) { call->Reply(response); });
  call->OnCancel([log, id] { log->CancelRead(id); });
}

}  // namespace

Result<> CheckTtl(uint64_t ttl_ms) {
  if (ttl_ms >= kMinTtlMs && ttl_ms <= kMaxTtlMs) return {};
  return MakeError(ErrorKind::kInvalid, "ttl_ms: " + std::to_string(ttl_ms) +
                                            " is out of range; expected 1000 to 86400000");
}

Result<> CheckLabel(const std::string& label) {
  const bool valid = label.size() <= kMaxLabelBytes &&
                     std::all_of(label.begin(), label.end(), [](unsigned char c) {
                       return std::isalnum(c) != 0 || c == '_' || c == '.' || c == '-';
                     });
  if (valid) return {};
  return MakeError(ErrorKind::kInvalid, "label: expected at most 64 of A-Z a-z 0-9 _ . -, got " +
                                            std::to_string(label.size()) +
                                            " bytes with others among them");
}

Result<Sessions::Found> FindSession(ServiceContext& context, const Call& call,
                                    const std::string& id) {
  return context.sessions.Find(id, [&](uid_t owner) { return MaySeeInstance(call.peer(), owner); });
}

Result<Session*> LiveSession(ServiceContext& context, const Call& call, const std::string& id) {
  SPORE_ASSIGN(const Sessions::Found found, FindSession(context, call, id));
  if (found.live != nullptr) return found.live;
  return MakeError(ErrorKind::kPrecondition,
                   "session " + found.dead->id() + " has ended: " + found.dead->death().message());
}

Result<Session*> UsableSession(ServiceContext& context, const Call& call, const std::string& id) {
  SPORE_ASSIGN(Session * session, LiveSession(context, call, id));
  SPORE_TRY(session->CheckUsable());
  return session;
}

Result<> CheckWait(uint32_t wait_ms) {
  if (wait_ms <= kMaxSandboxWaitMs) return {};
  return MakeError(ErrorKind::kInvalid,
                   "wait_ms: " + std::to_string(wait_ms) + "; expected at most 60000");
}

void AskAgent(ServiceContext& context, const CallPtr& call, Session& session, std::string ask,
              std::chrono::milliseconds patience, AgentLink::Answered answered) {
  auto charge = context.payloads.Take(call->peer().uid, ask.size());
  if (!charge) return call->Fail(charge.error());
  const uint64_t id = session.agent().Ask(
      std::move(ask), patience,
      [use = session.Use(), charge = std::make_shared<PayloadBudget::Charge>(std::move(*charge)),
       answered = std::move(answered)](Result<std::string> answer) {
        answered(std::move(answer));
      });
  call->OnCancel([&context, session_id = session.id(), id] {
    auto found = context.sessions.Find(session_id, [](uid_t) { return true; });
    if (found && found->live != nullptr) found->live->agent().Forget(id);
  });
}

void RegisterSandboxes(RpcServer& server, ServiceContext& context) {
  RegisterSandboxMethod(server, context, "Create", Create);
  RegisterSandboxMethod(server, context, "List", List);
  RegisterSandboxMethod(server, context, "Inspect", Inspect);
  RegisterSandboxMethod(server, context, "Kill", Kill);
  RegisterSandboxMethod(server, context, "Extend", Extend);
  RegisterSandboxMethod(server, context, "Pause", Pause);
  RegisterSandboxMethod(server, context, "Resume", Resume);
  RegisterSandboxMethod(server, context, "ReadLogs", ReadLogs);
  RegisterSandboxBranches(server, context);
  RegisterSandboxExecs(server, context);
  RegisterSandboxFiles(server, context);
}

}  // namespace spore
