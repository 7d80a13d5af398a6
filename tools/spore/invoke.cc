// spore invoke.
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>

#include "spore/v1/async.pb.h"
#include "tools/client/memfd.h"
#include "tools/spore/context.h"
#include "tools/spore/events.h"
#include "tools/spore/output.h"
#include "tools/spore/qualifier.h"
#include "tools/spore/units.h"

namespace spore::cli {
namespace {

constexpr std::size_t kMaxInMessage = std::size_t{1} << 20;
// The largest payload that any function may be configured to take.
constexpr std::size_t kMaxPayload = std::size_t{64} << 20;

struct Arguments {
  std::string name;
  std::string payload;
  std::string client_context;
  bool trace = false;
  bool log_tail = false;
  bool async = false;
};

void PrintError(const v1::FunctionError& error) {
  std::string text = error.type() + ": " + error.message();
  for (const std::string& line : error.stack_trace()) {
    text += "\n" + line;
    if (text.back() == '\n') text.pop_back();
  }
  fmt::print(stderr, "{}\n", ForTerminal(text, STDERR_FILENO));
  if (error.has_death() && error.death().cause() != v1::Death::CAUSE_UNSPECIFIED) {
    const v1::Usage& usage = error.death().usage();
    fmt::print(stderr, "spore: the instance ended: {}; cpu {}, peak memory {}\n",
               ForTerminal(DescribeDeath(error.death(), 0), STDERR_FILENO),
               HumanMicroseconds(usage.cpu_us()), HumanBytes(usage.memory_peak_bytes()));
  }
}

// The whole response, the handler's result in it as the JSON that it is. It is put in as text,
// because parsing would round numbers that no double can hold.
void PrintWhole(const v1::InvokeResponse& response, const std::string& payload) {
  auto json = ToJson(response);
  json.erase("payload");
  json.erase("payload_attached");
  json["log_tail"] = TextJson(response.log_tail());
  const std::string result = ForTerminal(EscapedJson(payload), STDOUT_FILENO);
  fmt::print("{{\n  \"payload\": {},{}\n", result.empty() ? "null" : result,
             JsonText(json, 2).substr(1));
}

void PrintTrace(const v1::InvokeResponse& response) {
  fmt::print(stderr, "request {}\n{} start{}; version {}, instance {}, {}\n{}",
             response.request_id(), StartName(response.start_kind()),
             response.start_reason().empty() ? "" : " (" + response.start_reason() + ")",
             response.executed_version(), response.instance_id(),
             HumanMicroseconds(response.duration_us()), TraceText(response.trace()));
}

// Of an InvokeRequest or an AsyncInvokeRequest, what they have in common.
template <typename Request>
Expected<Request> MakeRequest(const Arguments& arguments, client::Fd& attached) {
  auto payload = LoadPayload(arguments.payload);
  if (!payload) return tl::unexpected(payload.error());
  Request request;
  auto [name, qualifier] = SplitQualifier(arguments.name);
  request.set_name(std::move(name));
  request.set_qualifier(std::move(qualifier));
  request.set_client_context(arguments.client_context);
  if (payload->size() <= kMaxInMessage) {
    request.set_payload(std::move(*payload));
    return request;
  }
  auto memfd = client::SealedMemfd("spore-payload", *payload);
  if (!memfd) return Fail(kRefused, memfd.error().message);
  attached = std::move(*memfd);
  request.set_payload_attached(true);
  return request;
}

std::vector<int> AsList(const client::Fd& fd) {
  return fd.valid() ? std::vector<int>{fd.get()} : std::vector<int>{};
}

Outcome InvokeLater(const Context& context, const Arguments& arguments) {
  if (arguments.trace || arguments.log_tail)
    return Fail(kUsage, "--async waits for no answer: neither --trace nor --log-tail go with it");
  client::Fd attached;
  auto request = MakeRequest<v1::AsyncInvokeRequest>(arguments, attached);
  if (!request) return tl::unexpected(request.error());
  auto response = CallDaemon<v1::AsyncInvokeResponse>(context, "spore.v1.Async", "Invoke", *request,
                                                      AsList(attached));
  if (!response) return tl::unexpected(response.error());
  PrintOne(context.json, *response, response->id());
  return kDone;
}

Outcome Invoke(const Context& context, const Arguments& arguments) {
  client::Fd attached;
  auto request = MakeRequest<v1::InvokeRequest>(arguments, attached);
  if (!request) return tl::unexpected(request.error());
  request->set_trace(arguments.trace);
  request->set_log_tail(arguments.log_tail);
  request->set_payload_response_attached(true);
  auto connection = context.Connect();
  if (!connection) return tl::unexpected(connection.error());
  std::vector<client::Fd> received;
  auto response = connection->Call<v1::InvokeResponse>("spore.v1.Invocations", "Invoke", *request,
                                                       AsList(attached), &received);
  if (!response) return tl::unexpected(Explain(response.error(), context.socket));

  std::string payload = response->payload();
  if (response->payload_attached()) {
    if (received.empty()) return Fail(kUnreachable, "the response's payload did not come along");
    auto contents = client::ReadMemfd(received.front(), kMaxPayload);
    if (!contents) return Fail(kUnreachable, contents.error().message);
    payload = std::move(*contents);
  }
  // Diagnostics first: on a terminal the result then stands last.
  if (arguments.trace) PrintTrace(*response);
  if (context.json) {
    PrintWhole(*response, payload);
    return response->has_error() ? kFunctionFailed : kDone;
  }
  if (arguments.log_tail) {
    std::string tail = ForTerminal(response->log_tail(), STDERR_FILENO);
    if (!tail.empty() && tail.back() != '\n') tail += '\n';
    fmt::print(stderr, "{}", tail);
  }
  if (response->has_error()) {
    PrintError(response->error());
    return kFunctionFailed;
  }
  fmt::print("{}\n", ForTerminal(payload, STDOUT_FILENO));
  return kDone;
}

}  // namespace

Expected<std::string> LoadPayload(const std::string& argument) {
  if (argument != "-" && !argument.starts_with('@')) return argument;
  const bool standard = argument == "-" || argument == "@-";
  const std::string path = standard ? "standard input" : argument.substr(1);
  client::Fd file;
  if (!standard) {
    file.Reset(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!file.valid()) {
      return Fail(kUsage, "cannot read payload " + path + ": " + std::strerror(errno));
    }
  }
  auto data = client::ReadAll(standard ? STDIN_FILENO : file.get(), kMaxPayload, "payload " + path);
  if (!data) return Fail(kUsage, data.error().message);
  return std::move(*data);
}

void AddInvoke(CLI::App& app, Context& context) {
  CLI::App* invoke =
      AddCommand(app, context, "invoke", "Call a function; its result goes to stdout");
  auto arguments = std::make_shared<Arguments>();
  invoke->add_option("NAME", arguments->name, "Function, or NAME:QUALIFIER")->required();
  invoke
      ->add_option("-p,--payload", arguments->payload,
                   "The event, JSON: as text, from @FILE, or - for stdin (default: null)")
      ->type_name("TEXT|@FILE|-");
  invoke->add_flag("--trace", arguments->trace, "Print each step's time to stderr");
  invoke->add_flag("--log-tail", arguments->log_tail, "Print the end of its output to stderr");
  invoke
      ->add_option("--client-context", arguments->client_context,
                   "JSON for the handler's context.client_context")
      ->type_name("JSON");
  invoke->add_flag("--async", arguments->async,
                   "Have it called later: print the event's id, see spore async");
  invoke->callback([&context, arguments] {
    context.command = [&context, arguments] {
      return arguments->async ? InvokeLater(context, *arguments) : Invoke(context, *arguments);
    };
  });
}

}  // namespace spore::cli
