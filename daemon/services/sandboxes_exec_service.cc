// spore.v1.Sandboxes: programs and pieces of code.
#include <fcntl.h>
#include <unistd.h>

#include <array>

#include "daemon/common/text.h"
#include "daemon/common/validate.h"
#include "daemon/instances/standard_stream.h"
#include "daemon/services/sandboxes_service.h"

namespace spore {
namespace {

using session::Op;
using session::Reader;
using session::Tag;
using session::Writer;

constexpr std::array<const char*, 3> kStreams = {"stdin", "stdout", "stderr"};
constexpr int kMaxArguments = 1024;
constexpr size_t kMaxArgumentBytes = 256u << 10;
constexpr size_t kMaxPathBytes = 4095;
constexpr size_t kMaxRunning = 256;
constexpr uint64_t kMaxTimeoutMs = 86'400'000;
constexpr int kMaxSignal = 64;
constexpr std::chrono::milliseconds kPatience{30'000};

Result<> CheckArguments(const v1::ExecRequest& request) {
  if (request.args().empty() || request.args(0).empty())
    return MakeError(ErrorKind::kInvalid, "args: empty; expected a program");
  size_t bytes = 0;
  for (const std::string& word : request.args()) {
    bytes += word.size() + 1;
    if (word.find('\0') != word.npos)
      return MakeError(ErrorKind::kInvalid, "args: one holds a NUL byte");
  }
  if (request.args_size() <= kMaxArguments && bytes <= kMaxArgumentBytes) return {};
  return MakeError(ErrorKind::kInvalid, "args: " + std::to_string(request.args_size()) + " with " +
                                            std::to_string(bytes) + " bytes; expected at most " +
                                            std::to_string(kMaxArguments) + " with " +
                                            std::to_string(kMaxArgumentBytes));
}

Result<> CheckExec(const v1::ExecRequest& request) {
  SPORE_TRY(CheckArguments(request));
  SPORE_TRY(ValidateEnvironment(request.environment()));
  const std::string& directory = request.working_directory();
  if (!directory.empty() && (directory.front() != '/' || directory.size() > kMaxPathBytes ||
                             directory.find('\0') != directory.npos))
    return MakeError(ErrorKind::kInvalid, "working_directory: expected an absolute path");
  if (request.timeout_ms() > kMaxTimeoutMs) {
    return MakeError(ErrorKind::kInvalid, "timeout_ms: " + std::to_string(request.timeout_ms()) +
                                              " is out of range; expected 0 to 86400000");
  }
  if (!v1::ExecRequest::Streams_IsValid(request.streams()))
    return MakeError(ErrorKind::kInvalid, "streams: " + std::to_string(request.streams()) +
                                              "; expected ATTACHED, TERMINAL or KEPT");
  if (!request.input().empty() && request.streams() != v1::ExecRequest::KEPT)
    return MakeError(ErrorKind::kInvalid, "input: expected nothing, unless streams is KEPT");
  if (request.input().size() <= session::kMaxChunk) return {};
  return MakeError(ErrorKind::kInvalid, "input: " + std::to_string(request.input().size()) +
                                            " bytes; expected at most 1048576");
}

size_t FdsOf(const v1::ExecRequest& request) {
  return request.streams() == v1::ExecRequest::KEPT       ? 0
         : request.streams() == v1::ExecRequest::TERMINAL ? 1
                                                          : kStreams.size();
}

Result<> CheckStreams(const v1::ExecRequest& request, const std::vector<ClientFd>& fds) {
  if (fds.size() != FdsOf(request)) {
    return MakeError(ErrorKind::kInvalid, "streams: " + std::to_string(fds.size()) +
                                              " descriptors came; expected " +
                                              std::to_string(FdsOf(request)));
  }
  if (request.streams() == v1::ExecRequest::TERMINAL) {
    SPORE_TRY(CheckStandardStream(fds[0].get(), "terminal"));
    if (isatty(fds[0].get()) == 0 || (fcntl(fds[0].get(), F_GETFL) & O_ACCMODE) != O_RDWR)
      return MakeError(ErrorKind::kInvalid,
                       "terminal: expected a pseudoterminal's slave, open for reading and writing");
    return {};
  }
  for (size_t i = 0; i < fds.size(); ++i) {
    SPORE_TRY(CheckStandardStream(fds[i].get(), kStreams.at(i)));
    if (i > 0) SPORE_TRY(LetReopenOutput(fds[i].get()));
  }
  return {};
}

void Exec(ServiceContext& context, const CallPtr& call, v1::ExecRequest& request) {
  std::vector<ClientFd> fds = call->TakeFds();
  auto session = UsableSession(context, *call, request.id());
  if (!session) return call->Fail(session.error());
  if (auto valid = CheckExec(request); !valid) return call->Fail(valid.error());
  if (auto valid = CheckStreams(request, fds); !valid) return call->Fail(valid.error());
  ExecTable& execs = (*session)->execs();
  if (execs.running() >= kMaxRunning) {
    return call->Fail({ErrorKind::kOverloaded,
                       0,
                       std::to_string(kMaxRunning) + " programs run in the session already",
                       {},
                       "end some: spore sandbox execs, signal"});
  }
  const uint32_t id = execs.Start(
      request, std::move(fds), [call, use = (*session)->Use()](Result<v1::ExecResponse> response) {
        if (!response) return call->Fail(response.error());
        call->Reply(*response);
      });
  if (request.detach()) return;
  call->OnCancel([&context, session_id = (*session)->id(), id] {
    auto found = context.sessions.Find(session_id, [](uid_t) { return true; });
    if (found && found->live != nullptr && !found->live->dying()) found->live->execs().Cancel(id);
  });
}

void ListExecs(ServiceContext& context, const CallPtr& call, v1::ListExecsRequest& request) {
  auto session = LiveSession(context, *call, request.id());
  if (!session) return call->Fail(session.error());
  if ((*session)->starting()) return call->Reply(v1::ListExecsResponse());
  v1::ListExecsResponse response;
  for (v1::Execution& exec : (*session)->execs().List()) *response.add_execs() = std::move(exec);
  call->Reply(response);
}

Error NoSuchExec(uint32_t id) {
  return {ErrorKind::kNotFound, 0, "no exec " + std::to_string(id) + " in the session", {}, {}};
}

// One that the session still knows.
Result<Session*> SessionWithExec(ServiceContext& context, const Call& call, const std::string& id,
                                 uint32_t exec_id) {
  SPORE_ASSIGN(Session * session, UsableSession(context, call, id));
  if (session->execs().Find(exec_id) == nullptr) return tl::unexpected(NoSuchExec(exec_id));
  return session;
}

void WaitExec(ServiceContext& context, const CallPtr& call, v1::WaitExecRequest& request) {
  auto session = SessionWithExec(context, *call, request.id(), request.exec_id());
  if (!session) return call->Fail(session.error());
  if (auto valid = CheckWait(request.wait_ms()); !valid) return call->Fail(valid.error());
  const uint64_t wait = (*session)->execs().Wait(
      request.exec_id(), std::chrono::milliseconds(request.wait_ms()),
      [call, use = (*session)->Use()](const v1::Execution& exec) { call->Reply(exec); });
  call->OnCancel([&context, session_id = (*session)->id(), wait] {
    auto found = context.sessions.Find(session_id, [](uid_t) { return true; });
    if (found && found->live != nullptr) found->live->execs().CancelWait(wait);
  });
}

void ReadExecOutput(ServiceContext& context, const CallPtr& call,
                    v1::ReadExecOutputRequest& request) {
  auto session = SessionWithExec(context, *call, request.id(), request.exec_id());
  if (!session) return call->Fail(session.error());
  if (auto valid = CheckWait(request.wait_ms()); !valid) return call->Fail(valid.error());
  if (!(*session)->execs().Find(request.exec_id())->kept()) {
    return call->Fail({ErrorKind::kPrecondition,
                       0,
                       "exec " + std::to_string(request.exec_id()) + " has streams of its caller",
                       {},
                       "start it with kept output"});
  }
  Writer ask(Op::kReadOutput);
  ask.PutNumber(Tag::kExecId, request.exec_id())
      .PutNumber(Tag::kFlags, request.stderr() ? session::kStderr : 0)
      .PutNumber(Tag::kOffset, request.position())
      .PutNumber(Tag::kWaitMs, request.wait_ms());
  AskAgent(context, call, **session, ask.Take(),
           kPatience + std::chrono::milliseconds(request.wait_ms()),
           [call](Result<std::string> answer) {
             if (!answer) {
               if (answer.error().kind == ErrorKind::kNotFound)
                 answer.error().operation = "its output is not kept any more";
               return call->Fail(answer.error());
             }
             Reader reader(*answer);
             v1::ReadExecOutputResponse response;
             response.set_data(std::string(reader.Get(Tag::kData).substr(0, session::kMaxChunk)));
             response.set_position(reader.GetNumber(Tag::kOffset));
             response.set_end(reader.Has(session::kEnd));
             call->Reply(response);
           });
}

void SignalExec(ServiceContext& context, const CallPtr& call, v1::SignalExecRequest& request) {
  auto session = SessionWithExec(context, *call, request.id(), request.exec_id());
  if (!session) return call->Fail(session.error());
  if (request.signal() < 1 || request.signal() > kMaxSignal) {
    return call->Fail(
        {ErrorKind::kInvalid,
         0,
         "signal: " + std::to_string(request.signal()) + " is out of range; expected 1 to 64",
         {},
         {}});
  }
  Writer ask(Op::kSignal);
  ask.PutNumber(Tag::kExecId, request.exec_id())
      .PutNumber(Tag::kSignalNumber, static_cast<uint64_t>(request.signal()));
  AskAgent(
      context, call, **session, ask.Take(), kPatience,
      [call, id = request.exec_id()](Result<std::string> answer) {
        if (answer) return call->Reply(v1::SignalExecResponse());
        if (answer.error().kind == ErrorKind::kNotFound)
          answer.error() = {
              ErrorKind::kPrecondition, 0, "exec " + std::to_string(id) + " has ended", {}, {}};
        call->Fail(answer.error());
      });
}

Result<> CheckCode(const Session& session, const v1::RunCodeRequest& request) {
  if (session.language().empty()) {
    return MakeError(ErrorKind::kPrecondition,
                     "image " + session.image().manifest().name + " (" +
                         session.image().manifest().runtime + ") runs no pieces of code",
                     "execute programs in it, or create the session from a Python image");
  }
  if (!request.language().empty() && request.language() != session.language()) {
    return MakeError(ErrorKind::kInvalid, "language: \"" + ValidUtf8(request.language(), 64) +
                                              "\" is not what this session runs; expected \"" +
                                              session.language() + "\"");
  }
  if (request.timeout_ms() > kMaxTimeoutMs) {
    return MakeError(ErrorKind::kInvalid, "timeout_ms: " + std::to_string(request.timeout_ms()) +
                                              " is out of range; expected 0 to 86400000");
  }
  if (request.code().size() <= session::kMaxChunk) return {};
  return MakeError(ErrorKind::kInvalid, "code: " + std::to_string(request.code().size()) +
                                            " bytes; expected at most 1048576");
}

void RunCode(ServiceContext& context, const CallPtr& call, v1::RunCodeRequest& request) {
  auto session = UsableSession(context, *call, request.id());
  if (!session) return call->Fail(session.error());
  if (auto valid = CheckCode(**session, request); !valid) return call->Fail(valid.error());
  auto charge = context.payloads.Take(call->peer().uid, request.code().size());
  if (!charge) return call->Fail(charge.error());
  const uint64_t id =
      (*session)->code().Run(std::move(*request.mutable_code()), request.timeout_ms(),
                             [call, use = (*session)->Use(),
                              charge = std::make_shared<PayloadBudget::Charge>(std::move(*charge))](
                                 Result<v1::RunCodeResponse> response) {
                               if (!response) return call->Fail(response.error());
                               call->Reply(*response);
                             });
  call->OnCancel([&context, session_id = (*session)->id(), id] {
    auto found = context.sessions.Find(session_id, [](uid_t) { return true; });
    if (found && found->live != nullptr && !found->live->dying()) found->live->code().Cancel(id);
  });
}

template <typename Response>
void OrderCode(ServiceContext& context, const CallPtr& call, const std::string& id, Op op,
               void (*fill)(Response&, bool)) {
  auto session = UsableSession(context, *call, id);
  if (!session) return call->Fail(session.error());
  AskAgent(context, call, **session, Writer(op).Take(), kPatience,
           [call, fill](Result<std::string> answer) {
             if (!answer) return call->Fail(answer.error());
             Response response;
             fill(response, Reader(*answer).GetNumber(Tag::kWasThere) != 0);
             call->Reply(response);
           });
}

void InterruptCode(ServiceContext& context, const CallPtr& call,
                   v1::InterruptCodeRequest& request) {
  OrderCode<v1::InterruptCodeResponse>(
      context, call, request.id(), Op::kInterrupt,
      [](v1::InterruptCodeResponse& response, bool was) { response.set_was_running(was); });
}

void RestartCode(ServiceContext& context, const CallPtr& call, v1::RestartCodeRequest& request) {
  OrderCode<v1::RestartCodeResponse>(
      context, call, request.id(), Op::kRestart,
      [](v1::RestartCodeResponse& response, bool was) { response.set_was_there(was); });
}

}  // namespace

void RegisterSandboxExecs(RpcServer& server, ServiceContext& context) {
  RegisterSandboxMethod<v1::ExecRequest>(server, context, "Exec", Exec, FdsOf);
  RegisterSandboxMethod(server, context, "ListExecs", ListExecs);
  RegisterSandboxMethod(server, context, "WaitExec", WaitExec);
  RegisterSandboxMethod(server, context, "ReadExecOutput", ReadExecOutput);
  RegisterSandboxMethod(server, context, "SignalExec", SignalExec);
  RegisterSandboxMethod(server, context, "RunCode", RunCode);
  RegisterSandboxMethod(server, context, "InterruptCode", InterruptCode);
  RegisterSandboxMethod(server, context, "RestartCode", RestartCode);
}

}  // namespace spore
