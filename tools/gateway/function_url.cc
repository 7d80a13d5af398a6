#include "tools/gateway/function_url.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <ctime>
#include <nlohmann/json.hpp>
#include <utility>

#include "tools/gateway/bounded_json.h"
#include "tools/gateway/encoding.h"
#include "tools/gateway/http_serialize.h"
#include "tools/gateway/lambda_error.h"
#include "tools/gateway/lambda_invoke.h"
#include "tools/gateway/lambda_target.h"
#include "tools/gateway/text.h"

namespace spore::gateway {
namespace {

using Json = nlohmann::json;

// Headers that belong to the connection, or that the gateway sets itself.
bool IsOwn(std::string_view lower_name) {
  static constexpr std::array kOwn = {
      "connection", "content-length", "date", "keep-alive", "proxy-authenticate",
      "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
      // Of an answer: what would be about all of this host, not about the function's page.
      "alt-svc", "clear-site-data", "strict-transport-security"};
  return std::find(kOwn.begin(), kOwn.end(), lower_name) != kOwn.end();
}

// What lies behind /fn/NAME, as it came; "/" when there is nothing.
std::string_view PathBelow(const HttpRequest& request) {
  const std::string_view path = request.path();
  const std::size_t slash = path.find('/', std::string_view("/fn/").size());
  return slash == std::string_view::npos ? "/" : path.substr(slash);
}

bool IsTextType(std::string_view type) {
  const std::string kind = ToLower(Trim(type.substr(0, type.find(';'))));
  return kind.starts_with("text/") || kind == "application/json" ||
         kind == "application/javascript" || kind == "application/xml" || kind.ends_with("+json") ||
         kind.ends_with("+xml");
}

void AddHeaders(const HttpRequest& request, bool authorization, Json& event) {
  Json headers = Json::object();
  for (const Header& header : request.headers) {
    if (header.name == "cookie" || (header.name == "authorization" && !authorization)) continue;
    if (IsOwn(header.name) && header.name != "content-length") continue;
    Json& place = headers[header.name];
    place = place.is_null() ? header.value : place.get<std::string>() + "," + header.value;
  }
  Json cookies = Json::array();
  for (const std::string_view cookie : Split(request.Get("cookie"), ';')) {
    if (const std::string_view one = Trim(cookie); !one.empty())
      cookies.push_back(std::string(one));
  }
  event["headers"] = std::move(headers);
  if (!cookies.empty()) event["cookies"] = std::move(cookies);
}

void AddQuery(const HttpRequest& request, Json& event) {
  event["rawQueryString"] = std::string(request.query());
  if (request.query().empty()) return;
  Json parameters = Json::object();
  for (const std::string_view part : Split(request.query(), '&')) {
    const std::size_t equals = part.find('=');
    const auto name = PercentDecode(part.substr(0, equals), true);
    const auto value = PercentDecode(
        equals == std::string_view::npos ? std::string_view() : part.substr(equals + 1), true);
    if (!name || !value || name->empty()) continue;
    Json& place = parameters[*name];
    place = place.is_null() ? *value : place.get<std::string>() + "," + *value;
  }
  event["queryStringParameters"] = std::move(parameters);
}

void AddBody(const HttpRequest& request, Json& event) {
  event["isBase64Encoded"] = false;
  if (request.body.empty()) return;
  const bool text = IsTextType(request.Get("content-type")) && IsUtf8(request.body);
  event["isBase64Encoded"] = !text;
  event["body"] = text ? request.body : Base64(request.body);
}

// "12/Mar/2020:19:03:58 +0000".
std::string CommonLogTime(int64_t unix_ms) {
  const auto seconds = static_cast<std::time_t>(unix_ms / 1000);
  std::tm parts{};
  ::gmtime_r(&seconds, &parts);
  std::array<char, 64> text;
  return std::string(text.data(),
                     std::strftime(text.data(), text.size(), "%d/%b/%Y:%H:%M:%S +0000", &parts));
}

// A header's value as text: strings, numbers and booleans.
std::optional<std::string> ScalarText(const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_number() || value.is_boolean()) return value.dump();
  return std::nullopt;
}

bool TakeHeaders(const Json& result, HttpResponse& response, bool* typed) {
  const auto headers = result.find("headers");
  if (headers == result.end() || headers->is_null()) return true;
  if (!headers->is_object()) return false;
  for (const auto& [name, value] : headers->items()) {
    const auto text = ScalarText(value);
    if (!text || !ValidHeader(name, *text)) return false;
    const std::string lower = ToLower(name);
    if (IsOwn(lower)) continue;
    *typed |= lower == "content-type";
    response.headers.push_back({name, *text});
  }
  return true;
}

bool TakeCookies(const Json& result, HttpResponse& response) {
  const auto cookies = result.find("cookies");
  if (cookies == result.end() || cookies->is_null()) return true;
  if (!cookies->is_array()) return false;
  for (const Json& cookie : *cookies) {
    if (!cookie.is_string()) return false;
    if (!ValidHeader("Set-Cookie", cookie.get_ref<const std::string&>())) return false;
    response.headers.push_back({"Set-Cookie", cookie.get<std::string>()});
  }
  return true;
}

bool TakeBody(const Json& result, HttpResponse& response) {
  const auto body = result.find("body");
  if (body == result.end() || body->is_null()) return true;
  response.body = body->is_string() ? body->get<std::string>()
                                    : body->dump(-1, ' ', false, Json::error_handler_t::replace);
  const auto encoded = result.find("isBase64Encoded");
  if (encoded == result.end() || *encoded != true) return true;
  auto decoded = FromBase64(response.body);
  if (!decoded) return false;
  response.body = std::move(*decoded);
  return true;
}

HttpResponse BadGateway() {
  return LambdaError(502, "InternalServerErrorException", "Internal Server Error");
}

// Whatever the function says: a page of a tenant's is no page of the gateway's.
void Isolate(HttpResponse& response, const std::string& request_id) {
  response.headers.push_back({"Content-Security-Policy", "sandbox allow-scripts allow-forms"});
  response.headers.push_back({"X-Content-Type-Options", "nosniff"});
  response.headers.push_back({"x-amzn-RequestId", request_id});
}

}  // namespace

std::string UrlEvent(const HttpRequest& request, const std::string& function,
                     const std::string& request_id, bool authorization, int64_t unix_ms) {
  const std::string path(PathBelow(request)), host(request.Get("host"));
  Json event = {{"version", "2.0"}, {"routeKey", "$default"}, {"rawPath", path}};
  AddQuery(request, event);
  AddHeaders(request, authorization, event);
  event["requestContext"] = {
      {"accountId", "anonymous"},
      {"apiId", function},
      {"domainName", host},
      {"domainPrefix", function},
      {"http",
       {{"method", request.method},
        {"path", path},
        {"protocol", request.version == 10 ? "HTTP/1.0" : "HTTP/1.1"},
        {"sourceIp", request.peer},
        {"userAgent", std::string(request.Get("user-agent"))}}},
      {"requestId", request_id},
      {"routeKey", "$default"},
      {"stage", "$default"},
      {"time", CommonLogTime(unix_ms)},
      {"timeEpoch", unix_ms},
  };
  AddBody(request, event);
  return event.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::optional<HttpResponse> UrlResponse(std::string_view result) {
  HttpResponse response;
  const auto json = ParseBounded(result);
  bool typed = false;
  if (!json || !json->is_object() || !json->contains("statusCode")) {
    // A plain value is the body, as the JSON that it is.
    response.headers.push_back({"Content-Type", "application/json"});
    response.body = result;
    return response;
  }
  const Json& status = (*json)["statusCode"];
  std::optional<int> code;
  if (status.is_number_integer()) code = ParseNumber<int>(status.dump());
  if (status.is_string()) code = ParseNumber<int>(status.get_ref<const std::string&>());
  if (!code || *code < 200 || *code > 599) return std::nullopt;
  response.status = *code;
  if (!TakeHeaders(*json, response, &typed) || !TakeCookies(*json, response) ||
      !TakeBody(*json, response)) {
    return std::nullopt;
  }
  if (!typed) response.headers.push_back({"Content-Type", "application/json"});
  return response;
}

void CallUrl(Service& service, const ExchangePtr& exchange, const RouteMatch& match) {
  const auto target = ParseFunctionName(match.parts.at(0));
  if (!target) return exchange->Respond(FunctionNotFound(match.parts.at(0).substr(0, 80)));
  const int64_t now = std::chrono::duration_cast<std::chrono::milliseconds>(
                          std::chrono::system_clock::now().time_since_epoch())
                          .count();
  v1::InvokeRequest request;
  request.set_name(target->name);
  request.set_qualifier(target->qualifier);
  std::string event =
      UrlEvent(exchange->request, target->name, RandomUuid(), !service.guarded, now);
  std::string().swap(exchange->request.body);
  CallFunction(service, exchange, std::move(request), std::move(event),
               [exchange, name = Qualified(*target)](client::Result<v1::InvokeResponse> invoked) {
                 if (!invoked) return exchange->Respond(ErrorOf(invoked.error(), name));
                 std::optional<HttpResponse> response;
                 if (!invoked->has_error()) response = UrlResponse(invoked->payload());
                 if (!response) response = BadGateway();
                 Isolate(*response, invoked->request_id());
                 exchange->Respond(std::move(*response));
               });
}

}  // namespace spore::gateway
