#include "tools/gateway/lambda_invoke.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "spore/v1/async.pb.h"
#include "tools/client/memfd.h"
#include "tools/gateway/encoding.h"
#include "tools/gateway/lambda_call.h"
#include "tools/gateway/lambda_target.h"

namespace spore::gateway {
namespace {

using Json = nlohmann::json;
constexpr std::size_t kMaxInMessage = 1u << 20;
constexpr std::size_t kMaxResponse = 64u << 20;
constexpr std::size_t kMaxContext = 3583;  // Lambda's own limit for the header

// The payload that came beside the message. Always claimed, so that the next answer finds its own.
client::Result<> TakePayload(v1::InvokeResponse& response, FdQueue& fds) {
  if (!response.payload_attached()) return {};
  if (fds.empty()) {
    return tl::unexpected(
        client::Error{client::ErrorKind::kLost, 0, 0, "the response's payload did not come along"});
  }
  const client::Fd fd = std::move(fds.front());
  fds.pop_front();
  auto contents = client::ReadMemfd(fd, kMaxResponse);
  if (!contents) return tl::unexpected(contents.error());
  response.set_payload(std::move(*contents));
  return {};
}

HttpResponse Succeeded(const v1::InvokeResponse& response, bool tail) {
  HttpResponse answer;
  answer.headers = {{"Content-Type", "application/json"},
                    {"x-amzn-RequestId", response.request_id()},
                    {"X-Amz-Executed-Version", response.executed_version()}};
  if (response.has_error()) {
    // "Handled" has not been told apart for years: whatever a function raises is this.
    answer.headers.push_back({"X-Amz-Function-Error", "Unhandled"});
    answer.body = FunctionErrorJson(response.error(), response.request_id());
  } else {
    answer.body = response.payload();
  }
  if (tail) answer.headers.push_back({"X-Amz-Log-Result", Base64(response.log_tail())});
  return answer;
}

HttpResponse Failed(const client::Error& error, const std::string& name) {
  if (error.kind == client::ErrorKind::kRefused && error.code == client::kInvalidArgument) {
    if (error.message.starts_with("payload: ") &&
        error.message.find("expected at most") != std::string::npos)
      return LambdaError(413, "RequestTooLargeException", error.message);
    return LambdaError(400, "InvalidRequestContentException", error.message);
  }
  return ErrorOf(error, name);
}

// What the request's headers ask for, checked. An answer: it is refused.
struct Wishes {
  FunctionName function;
  bool tail = false;
  bool dry_run = false;
  bool event = false;
  std::string client_context;
};
std::optional<HttpResponse> ReadWishes(const HttpRequest& request, const RouteMatch& match,
                                       Wishes* wishes) {
  auto target = ReadTarget(request, match);
  if (!target) return std::move(target.error());
  wishes->function = std::move(*target);
  const std::string_view type = request.Get("x-amz-invocation-type");
  wishes->dry_run = type == "DryRun";
  wishes->event = type == "Event";
  if (!type.empty() && type != "RequestResponse" && !wishes->dry_run && !wishes->event) {
    return InvalidParameter("X-Amz-Invocation-Type: \"" + std::string(type) +
                            "\"; expected RequestResponse, Event or DryRun");
  }
  const std::string_view log = request.Get("x-amz-log-type");
  if (!log.empty() && log != "None" && log != "Tail")
    return InvalidParameter("X-Amz-Log-Type: \"" + std::string(log) + "\"; expected None or Tail");
  wishes->tail = log == "Tail";
  const std::string_view context = request.Get("x-amz-client-context");
  if (context.empty()) return std::nullopt;
  auto decoded = FromBase64(context);
  if (!decoded || decoded->size() > kMaxContext || !Json::accept(*decoded)) {
    return LambdaError(400, "InvalidRequestContentException",
                       "X-Amz-Client-Context: expected base64 of JSON, at most 3583 bytes");
  }
  wishes->client_context = std::move(*decoded);
  return std::nullopt;
}

HttpResponse Empty(int status, const std::string& request_id) {
  HttpResponse response;
  response.status = status;
  response.headers = {{"x-amzn-RequestId", request_id}};
  return response;
}

void DryRun(Service& service, const ExchangePtr& exchange, const FunctionName& function) {
  v1::GetFunctionRequest request;
  request.set_name(function.name);
  request.set_qualifier(function.qualifier);
  Relay<v1::Function>(service, exchange, kFunctions, "Get", request, Qualified(function),
                      [](const v1::Function&) { return Empty(204, RandomUuid()); });
}

// The payload in the message or, when it is large, beside it.
template <typename Request>
client::Result<std::vector<client::Fd>> PutPayload(std::string payload, Request& request) {
  std::vector<client::Fd> fds;
  if (payload.size() <= kMaxInMessage) {
    request.set_payload(std::move(payload));
    return fds;
  }
  auto memfd = client::SealedMemfd("spore-payload", payload);
  if (!memfd) return tl::unexpected(memfd.error());
  request.set_payload_attached(true);
  fds.push_back(std::move(*memfd));
  return fds;
}

// An event: answered once spored has it on disk.
void Accept(Service& service, const ExchangePtr& exchange, Wishes& wishes) {
  const std::string name = Qualified(wishes.function);
  v1::AsyncInvokeRequest request;
  request.set_name(wishes.function.name);
  request.set_qualifier(wishes.function.qualifier);
  request.set_client_context(std::move(wishes.client_context));
  auto fds = PutPayload(std::move(exchange->request.body), request);
  if (!fds) return exchange->Respond(ErrorOf(fds.error(), name));
  service.spored.Call<v1::AsyncInvokeResponse>(
      "spore.v1.Async", "Invoke", request, std::move(*fds),
      [exchange, name](client::Result<v1::AsyncInvokeResponse> accepted, FdQueue&) {
        exchange->Respond(accepted ? Empty(202, accepted->id()) : Failed(accepted.error(), name));
      });
}

}  // namespace

HttpResponse PayloadTooLarge(std::size_t limit) {
  return LambdaError(413, "RequestTooLargeException",
                     "Request must be smaller than " + std::to_string(limit) +
                         " bytes for the InvokeFunction operation");
}

std::string FunctionErrorJson(const v1::FunctionError& error, const std::string& request_id) {
  Json json = {{"errorMessage", error.message()}, {"errorType", error.type()}};
  const bool died = error.has_death() && error.death().cause() != v1::Death::CAUSE_UNSPECIFIED;
  if (died && !error.message().starts_with("RequestId: "))
    json["errorMessage"] = "RequestId: " + request_id + " Error: " + error.message();
  json["requestId"] = request_id;
  json["stackTrace"] = Json::array();
  for (const std::string& line : error.stack_trace()) json["stackTrace"].push_back(line);
  if (died) json.erase("stackTrace");
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

void CallFunction(Service& service, const ExchangePtr& exchange, v1::InvokeRequest request,
                  std::string payload, OnInvoked on_invoked) {
  auto fds = PutPayload(std::move(payload), request);
  if (!fds) return on_invoked(tl::unexpected(fds.error()));
  request.set_payload_response_attached(true);
  const SporedPool::CallId id = service.spored.Call<v1::InvokeResponse>(
      "spore.v1.Invocations", "Invoke", request, std::move(*fds),
      [on_invoked = std::move(on_invoked)](client::Result<v1::InvokeResponse> response,
                                           FdQueue& queue) {
        if (response) {
          if (auto taken = TakePayload(*response, queue); !taken)
            return on_invoked(tl::unexpected(taken.error()));
        }
        on_invoked(std::move(response));
      });
  exchange->OnVanish([&spored = service.spored, id] { spored.Cancel(id); });
}

void Invoke(Service& service, const ExchangePtr& exchange, const RouteMatch& match) {
  Wishes wishes;
  if (auto refusal = ReadWishes(exchange->request, match, &wishes))
    return exchange->Respond(std::move(*refusal));
  if (wishes.dry_run) return DryRun(service, exchange, wishes.function);
  if (wishes.event) return Accept(service, exchange, wishes);
  const std::string name = Qualified(wishes.function);
  v1::InvokeRequest request;
  request.set_name(wishes.function.name);
  request.set_qualifier(wishes.function.qualifier);
  request.set_client_context(std::move(wishes.client_context));
  request.set_log_tail(wishes.tail);
  std::string payload = std::move(exchange->request.body);
  CallFunction(service, exchange, std::move(request), std::move(payload),
               [exchange, name, tail = wishes.tail](client::Result<v1::InvokeResponse> response) {
                 if (!response) return exchange->Respond(Failed(response.error(), name));
                 // The runtime is the first to read the event.
                 if (response->error().type() == "Runtime.UnmarshalError") {
                   return exchange->Respond(LambdaError(
                       400, "InvalidRequestContentException",
                       "Could not parse request body into json: " + response->error().message()));
                 }
                 exchange->Respond(Succeeded(*response, tail));
               });
}

}  // namespace spore::gateway
