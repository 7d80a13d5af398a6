#include "zygote/hosts/provided/runtime_api.h"

#include <sys/random.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <ctime>
#include <nlohmann/json.hpp>

#include "zygote/hosts/common/channel.h"

namespace spore {
namespace {

using nlohmann::json;
using wire::FrameType;

constexpr std::string_view kPrefix = "/2018-06-01/runtime/";
constexpr const char* kErrorType = "lambda-runtime-function-error-type";
constexpr const char* kErrorBody = "lambda-runtime-function-error-body";
// Together, with six bytes a character at most, less than the daemon takes.
constexpr size_t kMaxType = 1024;
constexpr size_t kMaxMessage = 64 * 1024;
constexpr size_t kMaxStackLines = 64;
constexpr size_t kMaxStackLine = 1024;

std::string Dump(const json& value) {
  return value.dump(-1, ' ', false, json::error_handler_t::replace);
}

std::string Text(const json& object, const char* name) {
  const auto found = object.find(name);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

json ErrorObject(std::string_view type, std::string_view message) {
  return {{"errorType", type.substr(0, kMaxType)},
          {"errorMessage", message.substr(0, kMaxMessage)},
          {"stackTrace", json::array()}};
}

// What a runtime says of an error: {"errorMessage", "errorType", "stackTrace"}, or anything.
std::string ErrorOf(std::string_view header_type, std::string_view body) {
  const json said = json::parse(body, nullptr, false);
  if (!said.is_object()) {
    const std::string_view type = header_type.empty() ? "Runtime.UnknownReason" : header_type;
    return Dump(ErrorObject(type, body));
  }
  std::string type = Text(said, "errorType");
  if (type.empty()) type = header_type.empty() ? "Runtime.UnknownReason" : header_type;
  json error = ErrorObject(type, Text(said, "errorMessage"));
  const auto stack = said.find("stackTrace");
  if (stack == said.end() || !stack->is_array()) return Dump(error);
  for (const json& line : *stack) {
    if (error["stackTrace"].size() == kMaxStackLines) break;
    if (line.is_string())
      error["stackTrace"].push_back(line.get_ref<const std::string&>().substr(0, kMaxStackLine));
  }
  return Dump(error);
}

std::string DecodeBase64(std::string_view text) {
  constexpr std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string bytes;
  uint32_t bits = 0;
  int held = 0;
  for (const char c : text) {
    const size_t digit = kDigits.find(c);
    if (digit == kDigits.npos) break;
    bits = bits << 6 | static_cast<uint32_t>(digit);
    held += 6;
    if (held < 8) continue;
    held -= 8;
    bytes += static_cast<char>(bits >> held & 0xff);
  }
  return bytes;
}

HttpReply Accepted() {
  return {202, {{"Content-Type", "application/json"}}, "{\"status\":\"OK\"}\n"};
}

// A root of its own for each event: nobody before the runtime has traced it.
std::string TraceId() {
  std::array<unsigned char, 12> random{};
  // Twelve bytes of a pool that is ready are given whole (getrandom(2)).
  if (getrandom(random.data(), random.size(), 0) < 0) random.fill(0);
  char text[64];
  int at = snprintf(text, sizeof text, "Root=1-%08lx-", static_cast<unsigned long>(time(nullptr)));
  for (const unsigned char byte : random)
    at += snprintf(text + at, sizeof text - static_cast<size_t>(at), "%02x", byte);
  return std::string(text) + ";Sampled=0";
}

// As the daemon has put it in, behind all else; white space that no field may hold is only between
// the parts of JSON.
std::string ClientContext(std::string_view meta) {
  constexpr std::string_view kKey = ",\"client_context\":";
  const size_t at = meta.find(kKey);
  if (at == meta.npos) return {};
  meta.remove_prefix(at + kKey.size());
  std::string text(meta.substr(0, meta.size() - 1));
  std::replace_if(
      text.begin(), text.end(), [](unsigned char c) { return c < ' '; }, ' ');
  return text;
}

}  // namespace

std::string DescribeError(std::string_view type, std::string_view message) {
  return Dump(ErrorObject(type, message));
}

HttpReply RefuseRequest(int status, std::string_view type, std::string_view message) {
  const json body{{"errorMessage", message}, {"errorType", type}};
  return {status, {{"Content-Type", "application/json"}}, Dump(body) + "\n"};
}

std::optional<Event> ParseEvent(uint64_t frame_id, std::string_view body) {
  InvocationParts parts;
  if (!CutInvocation(body, parts)) return std::nullopt;
  const json meta = json::parse(parts.meta, nullptr, false);
  if (!meta.is_object()) return std::nullopt;
  Event event{.frame_id = frame_id,
              .request_id = Text(meta, "request_id"),
              .arn = Text(meta, "arn"),
              .client_context = ClientContext(parts.meta),
              .deadline_ms = 0,
              .payload = std::string(parts.event.empty() ? "null" : parts.event)};
  const auto deadline = meta.find("deadline_ms");
  if (deadline != meta.end() && deadline->is_number_integer())
    event.deadline_ms = deadline->get<int64_t>();
  return event;
}

RuntimeApi::Outcome RuntimeApi::Handle(HttpRequest& request) {
  std::string_view path = request.path;
  const auto refuse = [](int status, std::string_view type, std::string_view text) {
    return Outcome{RefuseRequest(status, type, text), {}};
  };
  if (!path.starts_with(kPrefix)) return refuse(404, "NotFound", "no such path: " + request.path);
  path.remove_prefix(kPrefix.size());
  const bool get = path == "invocation/next" || path == "restore/next";
  constexpr std::string_view kInvocation = "invocation/";
  const size_t slash = path.rfind('/');
  const bool of_event = path.starts_with(kInvocation) && slash >= kInvocation.size();
  const std::string id(of_event ? path.substr(kInvocation.size(), slash - kInvocation.size()) : "");
  const std::string_view last = slash == path.npos ? "" : path.substr(slash + 1);
  const bool known = get || path == "init/error" || path == "restore/error" ||
                     (of_event && (last == "response" || last == "error"));
  if (!known) return refuse(404, "NotFound", "no such path: " + request.path);
  const std::string_view method = get ? "GET" : "POST";
  if (request.method != method) {
    Outcome outcome = refuse(405, "MethodNotAllowed", "expected " + std::string(method));
    outcome.reply->fields.emplace_back("Allow", method);
    return outcome;
  }
  if (path == "invocation/next") return Next();
  if (path == "restore/next") return RestoreNext();
  if (path == "init/error")
    return phase_ == Phase::kInit || phase_ == Phase::kRestored ? BeginFailed(request) : NotNow();
  if (path == "restore/error") return phase_ == Phase::kRestored ? BeginFailed(request) : NotNow();
  return last == "response" ? Response(id, request) : Error(id, request);
}

RuntimeApi::Outcome RuntimeApi::NotNow() const {
  const char* state = phase_ == Phase::kRunning ? "it has an event that it has not answered"
                      : phase_ == Phase::kIdle  ? "it has no event"
                                                : "it has not begun";
  return {RefuseRequest(403, "InvalidStateTransition",
                        std::string("not allowed in the state of this runtime: ") + state),
          {}};
}

RuntimeApi::Outcome RuntimeApi::Next() {
  if (phase_ == Phase::kRunning) return NotNow();
  phase_ = Phase::kIdle;
  return {};
}

// Each runtime begins anew, so to restore it takes no time.
RuntimeApi::Outcome RuntimeApi::RestoreNext() {
  if (phase_ != Phase::kInit) return NotNow();
  phase_ = Phase::kRestored;
  return {HttpReply{200, {{"Content-Type", "application/json"}}, "{}\n"}, {}};
}

RuntimeApi::Outcome RuntimeApi::BeginFailed(const HttpRequest& request) {
  return {Accepted(),
          Report{FrameType::kFatal, 0, ErrorOf(request.Field(kErrorType), request.body)}};
}

HttpReply RuntimeApi::Deliver(const Event& event) {
  phase_ = Phase::kRunning;
  frame_id_ = event.frame_id;
  request_id_ = event.request_id;
  HttpReply reply{200,
                  {{"Content-Type", "application/json"},
                   {"Lambda-Runtime-Aws-Request-Id", event.request_id},
                   {"Lambda-Runtime-Deadline-Ms", std::to_string(event.deadline_ms)},
                   {"Lambda-Runtime-Invoked-Function-Arn", event.arn},
                   {"Lambda-Runtime-Trace-Id", TraceId()}},
                  event.payload};
  if (!event.client_context.empty())
    reply.fields.emplace_back("Lambda-Runtime-Client-Context", event.client_context);
  return reply;
}

void RuntimeApi::TakeBack() {
  phase_ = Phase::kIdle;
}

std::optional<RuntimeApi::Outcome> RuntimeApi::Mismatch(const std::string& id) const {
  if (!began()) return NotNow();
  if (id != request_id_)
    return Outcome{RefuseRequest(400, "InvalidRequestID", "no event has the id " + id), {}};
  if (phase_ != Phase::kRunning) return NotNow();
  return std::nullopt;
}

RuntimeApi::Outcome RuntimeApi::Finish(HttpReply reply, FrameType type, std::string body) {
  phase_ = Phase::kIdle;
  return {std::move(reply), Report{type, frame_id_, std::move(body)}};
}

RuntimeApi::Outcome RuntimeApi::Response(const std::string& id, HttpRequest& request) {
  if (auto mismatch = Mismatch(id)) return *std::move(mismatch);
  if (request.too_large || request.body.size() > max_response_) {
    const std::string bytes = std::to_string(max_response_);
    return Finish(RefuseRequest(413, "RequestEntityTooLarge",
                                "Exceeded maximum allowed payload size (" + bytes + " bytes)."),
                  FrameType::kFailed,
                  DescribeError("Function.ResponseSizeTooLarge",
                                "Response payload size exceeded maximum allowed payload size (" +
                                    bytes + " bytes)."));
  }
  // A response that is streamed tells in a trailer that it came to nothing.
  if (const std::string_view failed = request.Field(kErrorType); !failed.empty())
    return Finish(Accepted(), FrameType::kFailed,
                  ErrorOf(failed, DecodeBase64(request.Field(kErrorBody))));
  return Finish(Accepted(), FrameType::kResponse, std::move(request.body));
}

RuntimeApi::Outcome RuntimeApi::Error(const std::string& id, HttpRequest& request) {
  if (auto mismatch = Mismatch(id)) return *std::move(mismatch);
  HttpReply reply = request.too_large ? RefuseRequest(413, "RequestEntityTooLarge",
                                                      "the error's description is too large")
                                      : Accepted();
  return Finish(std::move(reply), FrameType::kFailed,
                ErrorOf(request.Field(kErrorType), request.body));
}

}  // namespace spore
