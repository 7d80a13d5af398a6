#include <spore/client.h>
#include <sys/mman.h>

#include <array>
#include <cerrno>

#include "spore/v1/async.pb.h"
#include "spore/v1/spore.pb.h"
#include "tools/client/memfd.h"
#include "tools/client/pack.h"
#include "tools/client/start_kind.h"
#include "tools/clients/cpp/link.h"

namespace spore {
inline namespace client_0 {
namespace {

constexpr std::size_t kMaxInMessage = std::size_t{1} << 20;
constexpr std::size_t kMaxPayload = std::size_t{64} << 20;
constexpr std::size_t kMaxOutput = std::size_t{1} << 30;

constexpr const char* kFunctions = "Functions";
constexpr const char* kInvocations = "Invocations";

v1::Isolation ToMessage(Isolation isolation) {
  return isolation == Isolation::kInvocation ? v1::ISOLATION_INVOCATION : v1::ISOLATION_INSTANCE;
}

Limits FromMessage(const v1::Limits& message) {
  Limits limits;
  limits.memory = message.memory_bytes();
  limits.cpus = message.cpu_millis() / 1000.0;
  limits.pids = message.pids();
  limits.tmp = message.tmp_bytes();
  limits.timeout = std::chrono::milliseconds(message.timeout_ms());
  limits.max_instances = message.max_instances();
  return limits;
}

Function FromMessage(const v1::Function& message) {
  const v1::FunctionSettings& settings = message.settings();
  Function function;
  function.name = message.name();
  function.version = message.version();
  function.runtime = settings.runtime();
  function.image = settings.image();
  function.handler = settings.handler();
  function.isolation = settings.isolation() == v1::ISOLATION_INVOCATION ? Isolation::kInvocation
                                                                        : Isolation::kInstance;
  function.environment = {settings.environment().begin(), settings.environment().end()};
  function.limits = FromMessage(settings.limits());
  function.owner_uid = message.owner_uid();
  function.created = AtMilliseconds(message.created_unix_ms());
  function.updated = AtMilliseconds(message.updated_unix_ms());
  function.code_digest = message.code_digest();
  function.code_bytes = message.code_bytes();
  function.instances = message.instances();
  return function;
}

// Puts the event into the message, or beside it where it is large.
template <typename Request>
Result<client::Fd> AttachEvent(Request& request, std::string_view event) {
  if (event.size() <= kMaxInMessage) {
    request.set_payload(event.data(), event.size());
    return client::Fd();
  }
  auto attached = client::SealedMemfd("spore-event", event);
  if (!attached) return tl::unexpected(LocalFailure(attached.error()));
  request.set_payload_attached(true);
  return std::move(*attached);
}

std::vector<int> AsList(const client::Fd& fd) {
  return fd.valid() ? std::vector<int>{fd.get()} : std::vector<int>{};
}

int ExitCode(const v1::Death& death) {
  if (death.cause() == v1::Death::EXIT) return death.exit_code();
  return death.cause() == v1::Death::SIGNAL ? 128 + death.signal() : -1;
}

}  // namespace

Result<Client> Client::Open(const ClientOptions& options) {
  auto link = std::make_shared<Link>(options);
  if (auto reached = link->Reach(); !reached) return tl::unexpected(reached.error());
  return Client(std::move(link));
}

Result<Function> Client::Deploy(std::string_view name, const std::string& code,
                                const DeployOptions& options) const {
  v1::DeployRequest request;
  request.set_name(name.data(), name.size());
  v1::FunctionSettings& settings = *request.mutable_settings();
  settings.set_runtime(options.runtime);
  settings.set_image(options.image);
  settings.set_handler(options.handler);
  settings.set_isolation(ToMessage(options.isolation));
  *settings.mutable_limits() = ToMessage(options.limits);
  settings.mutable_environment()->insert(options.environment.begin(), options.environment.end());
  if (options.min_instances != 0) settings.set_min_instances(options.min_instances);
  auto archive = client::PackCode(code);
  if (!archive) return tl::unexpected(LocalFailure(archive.error()));
  return link_->Call<v1::Function>(kFunctions, "Deploy", request, {archive->get()})
      .map([](const v1::Function& function) { return FromMessage(function); });
}

Result<Function> Client::Update(std::string_view name, const UpdateOptions& options) const {
  v1::UpdateRequest request;
  request.set_name(name.data(), name.size());
  v1::FunctionSettings& settings = *request.mutable_settings();
  settings.set_image(options.image);
  settings.set_handler(options.handler);
  if (options.isolation) settings.set_isolation(ToMessage(*options.isolation));
  *settings.mutable_limits() = ToMessage(options.limits);
  request.set_keep_environment(!options.environment);
  if (options.environment) {
    settings.mutable_environment()->insert(options.environment->begin(),
                                           options.environment->end());
  }
  if (options.min_instances) settings.set_min_instances(*options.min_instances);
  client::Fd archive;
  if (options.code) {
    auto packed = client::PackCode(*options.code);
    if (!packed) return tl::unexpected(LocalFailure(packed.error()));
    archive = std::move(*packed);
    request.set_archive_attached(true);
  }
  return link_->Call<v1::Function>(kFunctions, "Update", request, AsList(archive))
      .map([](const v1::Function& function) { return FromMessage(function); });
}

Result<Function> Client::GetFunction(std::string_view name) const {
  v1::GetFunctionRequest request;
  request.set_name(name.data(), name.size());
  return link_->Call<v1::Function>(kFunctions, "Get", request)
      .map([](const v1::Function& function) { return FromMessage(function); });
}

Result<std::vector<Function>> Client::Functions() const {
  std::vector<Function> functions;
  v1::ListFunctionsRequest request;
  do {
    auto page = link_->Call<v1::ListFunctionsResponse>(kFunctions, "List", request);
    if (!page) return tl::unexpected(page.error());
    for (const v1::Function& function : page->functions()) {
      functions.push_back(FromMessage(function));
    }
    request.set_marker(page->next_marker());
  } while (!request.marker().empty());
  return functions;
}

Result<> Client::Remove(std::string_view name) const {
  v1::RemoveFunctionRequest request;
  request.set_name(name.data(), name.size());
  return link_->Call<v1::RemoveFunctionResponse>(kFunctions, "Remove", request)
      .map([](const v1::RemoveFunctionResponse&) {});
}

Result<std::string> Client::Invoke(std::string_view name, std::string_view event,
                                   const InvokeOptions& options) const {
  return InvokeForResult(name, event, options).map([](InvokeResult result) {
    return std::move(result.value);
  });
}

Result<InvokeResult> Client::InvokeForResult(std::string_view name, std::string_view event,
                                             const InvokeOptions& options) const {
  v1::InvokeRequest request;
  request.set_name(name.data(), name.size());
  request.set_qualifier(options.qualifier);
  request.set_client_context(options.client_context);
  request.set_log_tail(options.log_tail);
  request.set_payload_response_attached(true);
  auto attached = AttachEvent(request, event);
  if (!attached) return tl::unexpected(attached.error());
  std::vector<client::Fd> received;
  auto response = link_->Call<v1::InvokeResponse>(kInvocations, "Invoke", request,
                                                  AsList(*attached), &received);
  if (!response) return tl::unexpected(response.error());
  if (response->has_error()) {
    return tl::unexpected(Failure(ErrorKind::kFunctionFailed, response->error()));
  }
  InvokeResult result;
  result.value = std::move(*response->mutable_payload());
  if (response->payload_attached()) {
    if (received.empty()) {
      return tl::unexpected(Error{ErrorKind::kConnectionFailed,
                                  "the result did not come along with the answer",
                                  0,
                                  0,
                                  {},
                                  {}});
    }
    auto contents = client::ReadMemfd(received.front(), kMaxPayload);
    if (!contents) return tl::unexpected(LocalFailure(contents.error()));
    result.value = std::move(*contents);
  }
  result.start_kind = client::StartName(response->start_kind());
  result.request_id = response->request_id();
  result.instance_id = response->instance_id();
  result.executed_version = response->executed_version();
  result.duration = std::chrono::microseconds(response->duration_us());
  result.log_tail = response->log_tail();
  return result;
}

Result<std::string> Client::InvokeAsync(std::string_view name, std::string_view event) const {
  v1::AsyncInvokeRequest request;
  request.set_name(name.data(), name.size());
  auto attached = AttachEvent(request, event);
  if (!attached) return tl::unexpected(attached.error());
  return link_->Call<v1::AsyncInvokeResponse>("Async", "Invoke", request, AsList(*attached))
      .map([](const v1::AsyncInvokeResponse& response) { return response.id(); });
}

Result<RunResult> Client::Run(std::string_view script, const std::vector<std::string>& args,
                              const RunOptions& options) const {
  v1::RunRequest request;
  request.set_runtime(options.runtime);
  request.set_image(options.image);
  request.set_script(script.data(), script.size());
  request.add_args("script");
  for (const std::string& argument : args) request.add_args(argument);
  request.mutable_environment()->insert(options.environment.begin(), options.environment.end());
  *request.mutable_limits() = ToMessage(options.limits);
  auto in = client::SealedMemfd("spore-in", options.input);
  if (!in) return tl::unexpected(LocalFailure(in.error()));
  if (::lseek(in->get(), 0, SEEK_SET) != 0) {
    return tl::unexpected(LocalFailure(client::LocalError("seek in the input", errno).value()));
  }
  // What it writes counts as its memory, so its limit bounds these.
  std::array<client::Fd, 2> outputs;
  for (client::Fd& output : outputs) {
    auto made = client::MakeMemfd("spore-out");
    if (!made) return tl::unexpected(LocalFailure(made.error()));
    output = std::move(*made);
  }
  auto response = link_->Call<v1::RunResponse>(kInvocations, "Run", request,
                                               {in->get(), outputs[0].get(), outputs[1].get()});
  if (!response) return tl::unexpected(response.error());
  RunResult result;
  result.exit_code = ExitCode(response->death());
  result.ended = response->death().message();
  for (std::string* text : {&result.out, &result.err}) {
    auto contents = client::ReadMemfd(outputs[text == &result.out ? 0 : 1], kMaxOutput);
    if (!contents) return tl::unexpected(LocalFailure(contents.error()));
    *text = std::move(*contents);
  }
  return result;
}

Result<Info> Client::GetInfo() const {
  return link_->Call<v1::InfoResponse>("System", "Info", v1::InfoRequest())
      .map([](const v1::InfoResponse& response) {
        Info info;
        info.version = response.version();
        info.pid = response.pid();
        info.state_dir = response.state_dir();
        info.cgroup_layout = response.cgroup_layout();
        info.started = AtMilliseconds(response.started_unix_ms());
        return info;
      });
}

}  // namespace client_0
}  // namespace spore
