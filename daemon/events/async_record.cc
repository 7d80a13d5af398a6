#include "daemon/events/async_record.h"

#include <time.h>

#include <array>
#include <cstdio>
#include <nlohmann/json.hpp>

namespace spore {
namespace {

using nlohmann::ordered_json;

std::string Dump(const ordered_json& json) {
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::string OrNull(const std::string& text) {
  return !text.empty() && nlohmann::json::accept(text) ? text : "null";
}

std::string OrLatest(const std::string& qualifier) {
  return qualifier.empty() ? "$LATEST" : qualifier;
}

std::string ErrorPayload(const v1::FunctionError& error) {
  ordered_json json{{"errorMessage", error.message()}, {"errorType", error.type()}};
  json["stackTrace"] = ordered_json::array();
  for (const std::string& line : error.stack_trace()) json["stackTrace"].push_back(line);
  return Dump(json);
}

// Payloads are put in as the text that they are: parsing would round numbers.
std::string Assemble(const std::string& head, const std::string& request,
                     const std::string& context, const std::string& response) {
  return head + ",\"requestPayload\":" + request + ",\"responseContext\":" + context +
         ",\"responsePayload\":" + response + "}";
}

}  // namespace

std::string IsoTime(int64_t unix_ms) {
  const time_t seconds = static_cast<time_t>(unix_ms / 1000);
  struct tm parts {};
  gmtime_r(&seconds, &parts);
  std::array<char, 64> text{};
  const size_t length = strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%S", &parts);
  std::array<char, 8> fraction{};
  snprintf(fraction.data(), fraction.size(), ".%03dZ", static_cast<int>(unix_ms % 1000));
  return std::string(text.data(), length) + fraction.data();
}

std::string InvocationRecord(const v1::AsyncEvent& event, const std::string& response,
                             int64_t now_unix_ms, uint64_t max_bytes) {
  ordered_json head;
  head["version"] = "1.0";
  head["timestamp"] = IsoTime(now_unix_ms);
  head["requestContext"] = {
      {"requestId", event.id()},
      {"functionArn", "arn:aws:lambda:local:000000000000:function:" + event.function() + ":" +
                          OrLatest(event.qualifier())},
      {"condition", event.condition()},
      {"approximateInvokeCount", event.attempts()}};
  std::string start = Dump(head);
  start.pop_back();
  // Nothing has answered where there was no attempt.
  std::string context = "null", answer = "null";
  if (event.attempts() > 0) {
    ordered_json parts{{"statusCode", 200},
                       {"executedVersion", OrLatest(event.executed_version())}};
    if (event.has_error()) parts["functionError"] = "Unhandled";
    context = Dump(parts);
    answer = event.has_error() ? ErrorPayload(event.error()) : OrNull(response);
  }
  std::string record = Assemble(start, OrNull(event.payload()), context, answer);
  if (record.size() > max_bytes) record = Assemble(start, OrNull(event.payload()), context, "null");
  if (record.size() > max_bytes) record = Assemble(start, "null", context, "null");
  return record;
}

}  // namespace spore
