#include <spore/sandbox.h>

#include <utility>

#include "spore/v1/sandboxes.pb.h"
#include "tools/clients/cpp/link.h"

namespace spore {
inline namespace client_0 {
namespace {

constexpr const char* kSandboxes = "Sandboxes";

SandboxState FromMessage(v1::Session::State state) {
  switch (state) {
    case v1::Session::RUNNING:
      return SandboxState::kRunning;
    case v1::Session::PAUSED:
      return SandboxState::kPaused;
    case v1::Session::ENDING:
      return SandboxState::kEnding;
    case v1::Session::DEAD:
      return SandboxState::kDead;
    default:
      return SandboxState::kStarting;
  }
}

SandboxInfo FromMessage(const v1::Session& session) {
  SandboxInfo info;
  info.id = session.id();
  info.label = session.label();
  info.image = session.image();
  info.language = session.language();
  info.state = FromMessage(session.state());
  info.created = AtMilliseconds(session.created_unix_ms());
  info.expires = AtMilliseconds(session.expires_unix_ms());
  info.memory = session.memory_bytes();
  info.cpu = std::chrono::microseconds(session.cpu_us());
  info.processes = session.pids();
  info.execs_running = session.execs_running();
  info.ended = session.death().message();
  return info;
}

v1::ExecRequest ToMessage(const std::string& id, const std::vector<std::string>& args,
                          const ExecOptions& options) {
  v1::ExecRequest request;
  request.set_id(id);
  for (const std::string& argument : args) request.add_args(argument);
  request.set_working_directory(options.working_directory);
  request.mutable_environment()->insert(options.environment.begin(), options.environment.end());
  request.set_streams(v1::ExecRequest::KEPT);
  request.set_timeout_ms(Milliseconds(options.timeout));
  request.set_input(options.input);
  return request;
}

// As the Python client words it: the last line of what it had to complain of.
Error ExecFailure(const ExecResult& result) {
  std::string message = "exit code " + std::to_string(result.exit_code);
  std::string_view text = result.message.empty() ? result.err : result.message;
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.remove_suffix(1);
  const std::string_view last = text.substr(text.rfind('\n') + 1);
  if (!last.empty()) message.append(": ").append(last);
  return {ErrorKind::kExecFailed, std::move(message), 0, 0, {}, {}};
}

// For calls on a session of which only success is of interest.
template <typename Response>
Result<> Done(Result<Response> response) {
  return response.map([](const Response&) {});
}

}  // namespace

Result<Sandbox> Sandbox::Create(const Client& owner, const SandboxOptions& options) {
  v1::CreateSandboxRequest request;
  request.set_image(options.image);
  *request.mutable_limits() = ToMessage(options.limits);
  request.set_ttl_ms(Milliseconds(options.ttl));
  request.set_idle_timeout_ms(Milliseconds(options.idle_timeout));
  request.mutable_environment()->insert(options.environment.begin(), options.environment.end());
  request.set_label(options.label);
  request.set_network(options.network);
  auto session = owner.link_->Call<v1::Session>(kSandboxes, "Create", request);
  if (!session) return tl::unexpected(session.error());
  return Sandbox(owner.link_, session->id(), true);
}

Result<Sandbox> Sandbox::Connect(const Client& owner, std::string_view id) {
  v1::InspectSandboxRequest request;
  request.set_id(id.data(), id.size());
  auto session = owner.link_->Call<v1::Session>(kSandboxes, "Inspect", request);
  if (!session) return tl::unexpected(session.error());
  return Sandbox(owner.link_, session->id(), false);
}

Result<std::vector<SandboxInfo>> Sandbox::List(const Client& owner, bool include_dead) {
  v1::ListSandboxesRequest request;
  request.set_include_dead(include_dead);
  auto response = owner.link_->Call<v1::ListSandboxesResponse>(kSandboxes, "List", request);
  if (!response) return tl::unexpected(response.error());
  std::vector<SandboxInfo> sandboxes;
  for (const v1::Session& session : response->sessions()) {
    sandboxes.push_back(FromMessage(session));
  }
  return sandboxes;
}

Sandbox::Sandbox(Sandbox&& other) noexcept
    : link_(std::move(other.link_)),
      id_(std::move(other.id_)),
      owned_(std::exchange(other.owned_, false)) {}

Sandbox& Sandbox::operator=(Sandbox&& other) noexcept {
  if (this == &other) return *this;
  End();
  link_ = std::move(other.link_);
  id_ = std::move(other.id_);
  owned_ = std::exchange(other.owned_, false);
  return *this;
}

Sandbox::~Sandbox() {
  End();
}

// A daemon that cannot be reached ends it at the end of its time at the latest.
void Sandbox::End() noexcept {
  if (owned_) (void)Kill();
  owned_ = false;
}

Result<> Sandbox::Kill() {
  owned_ = false;
  v1::KillSandboxRequest request;
  request.set_id(id_);
  auto killed = link_->Call<v1::Session>(kSandboxes, "Kill", request);
  if (killed) return {};
  // What has ended is known for a while, and then forgotten.
  const auto info = GetInfo();
  const bool gone =
      info ? info->state == SandboxState::kDead : info.error().kind == ErrorKind::kNotFound;
  if (gone) return {};
  return tl::unexpected(killed.error());
}

Result<SandboxInfo> Sandbox::GetInfo() const {
  v1::InspectSandboxRequest request;
  request.set_id(id_);
  return link_->Call<v1::Session>(kSandboxes, "Inspect", request)
      .map([](const v1::Session& session) { return FromMessage(session); });
}

Result<> Sandbox::Extend(std::chrono::milliseconds ttl) const {
  v1::ExtendSandboxRequest request;
  request.set_id(id_);
  request.set_ttl_ms(Milliseconds(ttl));
  return Done(link_->Call<v1::Session>(kSandboxes, "Extend", request));
}

Result<> Sandbox::Pause() const {
  v1::PauseSandboxRequest request;
  request.set_id(id_);
  return Done(link_->Call<v1::Session>(kSandboxes, "Pause", request));
}

Result<> Sandbox::Resume() const {
  v1::ResumeSandboxRequest request;
  request.set_id(id_);
  return Done(link_->Call<v1::Session>(kSandboxes, "Resume", request));
}

Result<std::vector<Sandbox>> Sandbox::Branch(const BranchOptions& options) const {
  v1::BranchSandboxRequest request;
  request.set_id(id_);
  request.set_copies(options.copies);
  request.set_ttl_ms(Milliseconds(options.ttl));
  request.set_label(options.label);
  request.set_only_interpreter(options.only_interpreter);
  auto response = link_->Call<v1::BranchSandboxResponse>(kSandboxes, "Branch", request);
  if (!response) return tl::unexpected(response.error());
  std::vector<Sandbox> copies;
  for (const v1::Session& session : response->sessions())
    copies.push_back(Sandbox(link_, session.id(), true));
  return copies;
}

Result<ExecResult> Sandbox::Exec(const std::vector<std::string>& args,
                                 const ExecOptions& options) const {
  auto response = link_->Call<v1::ExecResponse>(kSandboxes, "Exec", ToMessage(id_, args, options));
  if (!response) return tl::unexpected(response.error());
  ExecResult result;
  result.exit_code = response->exec().exit_code();
  result.timed_out = response->exec().timed_out();
  result.message = response->exec().error();
  result.out = std::move(*response->mutable_stdout());
  result.err = std::move(*response->mutable_stderr());
  result.out_dropped = response->stdout_dropped();
  result.err_dropped = response->stderr_dropped();
  if (options.check && result.exit_code != 0) return tl::unexpected(ExecFailure(result));
  return result;
}

Result<Process> Sandbox::Start(const std::vector<std::string>& args,
                               const ExecOptions& options) const {
  v1::ExecRequest request = ToMessage(id_, args, options);
  request.set_detach(true);
  auto response = link_->Call<v1::ExecResponse>(kSandboxes, "Exec", request);
  if (!response) return tl::unexpected(response.error());
  const v1::Execution& exec = response->exec();
  if (exec.pid() == 0) {
    ExecResult result;
    result.exit_code = exec.exit_code();
    result.message = exec.error();
    return tl::unexpected(ExecFailure(result));
  }
  return Process(link_, id_, exec.exec_id(), exec.pid());
}

Result<CodeResult> Sandbox::RunCode(std::string_view code, const CodeOptions& options) const {
  v1::RunCodeRequest request;
  request.set_id(id_);
  request.set_code(code.data(), code.size());
  request.set_timeout_ms(Milliseconds(options.timeout));
  auto response = link_->Call<v1::RunCodeResponse>(kSandboxes, "RunCode", request);
  if (!response) return tl::unexpected(response.error());
  CodeResult result;
  if (response->has_error()) {
    v1::FunctionError error;
    error.set_type(response->error().type());
    error.set_message(response->error().message());
    *error.mutable_stack_trace() = response->error().stack_trace();
    result.error = Failure(ErrorKind::kCodeFailed, error);
    if (options.check) return tl::unexpected(*result.error);
  }
  if (response->has_value()) result.value = std::move(*response->mutable_value());
  result.json = std::move(*response->mutable_json());
  result.forms = {response->forms().begin(), response->forms().end()};
  result.out = std::move(*response->mutable_stdout());
  result.err = std::move(*response->mutable_stderr());
  result.timed_out = response->timed_out();
  result.interpreter_ended = response->interpreter_ended();
  return result;
}

Result<bool> Sandbox::Interrupt() const {
  v1::InterruptCodeRequest request;
  request.set_id(id_);
  return link_->Call<v1::InterruptCodeResponse>(kSandboxes, "InterruptCode", request)
      .map([](const v1::InterruptCodeResponse& response) { return response.was_running(); });
}

Result<> Sandbox::RestartCode() const {
  v1::RestartCodeRequest request;
  request.set_id(id_);
  return Done(link_->Call<v1::RestartCodeResponse>(kSandboxes, "RestartCode", request));
}

}  // namespace client_0
}  // namespace spore
