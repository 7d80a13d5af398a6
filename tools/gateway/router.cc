#include "tools/gateway/router.h"

#include <array>
#include <utility>

#include "tools/gateway/dashboard.h"
#include "tools/gateway/encoding.h"
#include "tools/gateway/function_url.h"
#include "tools/gateway/lambda_aliases.h"
#include "tools/gateway/lambda_concurrency.h"
#include "tools/gateway/lambda_error.h"
#include "tools/gateway/lambda_functions.h"
#include "tools/gateway/lambda_invoke.h"
#include "tools/gateway/lambda_tags.h"
#include "tools/gateway/lambda_versions.h"
#include "tools/gateway/metrics.h"
#include "tools/gateway/static_pages.h"
#include "tools/gateway/text.h"

namespace spore::gateway {

using HandlerFunction = void (*)(Service&, const ExchangePtr&, const RouteMatch&);

// How large a body may be.
enum class BodyKind { kSmall, kPayload, kArchive };

// `path`: fixed parts, and "*" for a free one; "**" at the end takes whatever follows.
struct Route {
  std::string_view method;  // empty: any
  std::string_view path;
  HandlerFunction handler;
  BodyKind body = BodyKind::kSmall;
  Guard guard = Guard::kFull;
};

namespace {

constexpr std::size_t kSmallBody = 1u << 20;
constexpr std::size_t kJsonAround = 1u << 20;  // what may stand around an archive's base64

constexpr std::array kRoutes = {
    Route{"GET", "/healthz", Health, BodyKind::kSmall, Guard::kOpen},
    Route{"GET", "/metrics", Metrics},
    Route{"GET", "/dashboard", DashboardPage, BodyKind::kSmall, Guard::kOpen},
    Route{"GET", "/dashboard/dashboard.css", DashboardStyle, BodyKind::kSmall, Guard::kOpen},
    Route{"GET", "/dashboard/dashboard.js", DashboardScript, BodyKind::kSmall, Guard::kOpen},
    Route{"GET", "/dashboard/state.json", DashboardStateJson},
    Route{"POST", "/2015-03-31/functions/*/invocations", Invoke, BodyKind::kPayload},
    Route{"POST", "/2015-03-31/functions", CreateFunction, BodyKind::kArchive},
    Route{"GET", "/2015-03-31/functions", ListFunctions},
    Route{"GET", "/2015-03-31/functions/*", GetFunction},
    Route{"DELETE", "/2015-03-31/functions/*", DeleteFunction},
    Route{"GET", "/2015-03-31/functions/*/configuration", GetFunctionConfiguration},
    Route{"PUT", "/2015-03-31/functions/*/configuration", UpdateFunctionConfiguration},
    Route{"PUT", "/2015-03-31/functions/*/code", UpdateFunctionCode, BodyKind::kArchive},
    Route{"POST", "/2015-03-31/functions/*/versions", PublishVersion},
    Route{"GET", "/2015-03-31/functions/*/versions", ListVersions},
    Route{"POST", "/2015-03-31/functions/*/aliases", CreateAlias},
    Route{"GET", "/2015-03-31/functions/*/aliases", ListAliases},
    Route{"GET", "/2015-03-31/functions/*/aliases/*", GetAlias},
    Route{"PUT", "/2015-03-31/functions/*/aliases/*", UpdateAlias},
    Route{"DELETE", "/2015-03-31/functions/*/aliases/*", DeleteAlias},
    Route{"GET", "/2017-03-31/tags/*", ListTags},
    Route{"POST", "/2017-03-31/tags/*", TagResource},
    Route{"DELETE", "/2017-03-31/tags/*", UntagResource},
    Route{"PUT", "/2017-10-31/functions/*/concurrency", PutConcurrency},
    Route{"DELETE", "/2017-10-31/functions/*/concurrency", DeleteConcurrency},
    Route{"GET", "/2019-09-30/functions/*/concurrency", GetConcurrency},
    Route{"PUT", "/2019-09-30/functions/*/provisioned-concurrency", PutProvisioned},
    Route{"GET", "/2019-09-30/functions/*/provisioned-concurrency", GetProvisioned},
    Route{"DELETE", "/2019-09-30/functions/*/provisioned-concurrency", DeleteProvisioned},
    Route{"", "/fn/*/**", CallUrl, BodyKind::kPayload, Guard::kPage},
    Route{"", "/fn/*", CallUrl, BodyKind::kPayload, Guard::kPage},
};

// A path's parts, without the empty one behind a slash at its end.
std::vector<std::string_view> PartsOf(std::string_view path) {
  std::vector<std::string_view> parts = Split(path.substr(1), '/');
  if (parts.size() > 1 && parts.back().empty()) parts.pop_back();
  return parts;
}

std::optional<RouteMatch> Matches(const Route& route, const std::vector<std::string_view>& parts) {
  RouteMatch match;
  const auto pattern = PartsOf(route.path);
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    if (pattern[i] == "**") return i <= parts.size() ? std::optional(match) : std::nullopt;
    if (i >= parts.size()) return std::nullopt;
    if (pattern[i] != "*") {
      if (pattern[i] != parts[i]) return std::nullopt;
      continue;
    }
    auto decoded = PercentDecode(parts[i]);
    if (!decoded || decoded->empty() || !IsUtf8(*decoded)) return std::nullopt;
    match.parts.push_back(std::move(*decoded));
  }
  return pattern.size() == parts.size() ? std::optional(match) : std::nullopt;
}

struct Found {
  const Route* route = nullptr;
  RouteMatch match;
  std::string allowed;  // methods of that path, when there is no route for this one
};

Found Find(const HttpRequest& request) {
  Found found;
  const auto parts = PartsOf(request.path());
  for (const Route& route : kRoutes) {
    auto match = Matches(route, parts);
    if (!match) continue;
    const bool head = request.method == "HEAD" && route.method == "GET";
    if (route.method.empty() || route.method == request.method || head) {
      found.route = &route;
      found.match = std::move(*match);
      return found;
    }
    found.allowed.append(found.allowed.empty() ? "" : ", ").append(route.method);
  }
  return found;
}

HttpResponse NoRoute(const HttpRequest& request, const Found& found) {
  if (found.allowed.empty()) {
    return LambdaError(404, "UnknownOperationException",
                       "Nothing is served at this path; see spore-gateway(8).");
  }
  HttpResponse response =
      LambdaError(405, "MethodNotAllowedException",
                  "This path does not take " + request.method.substr(0, 20) + ".");
  response.headers.push_back({"Allow", found.allowed});
  return response;
}

// What a JSON interface is sent is JSON, or says nothing of its kind; a form of a web page is not.
bool IsJsonType(std::string_view type) {
  const std::string kind = ToLower(Trim(type.substr(0, type.find(';'))));
  return kind.empty() || kind == "application/json" || kind == "application/octet-stream" ||
         kind == "binary/octet-stream" || kind.starts_with("application/x-amz-json") ||
         kind == "application/x-www-form-urlencoded" || kind == "text/plain";
}

}  // namespace

std::string QueryValue(const HttpRequest& request, std::string_view name) {
  for (const std::string_view part : Split(request.query(), '&')) {
    const std::size_t equals = part.find('=');
    if (PercentDecode(part.substr(0, equals), true) != name) continue;
    if (equals == std::string_view::npos) return {};
    auto value = PercentDecode(part.substr(equals + 1), true);
    return value && IsUtf8(*value) ? *value : std::string();
  }
  return {};
}

HttpResponse JsonResponse(int status, std::string body) {
  HttpResponse response;
  response.status = status;
  response.headers = {{"Content-Type", "application/json"}, {"x-amzn-RequestId", RandomUuid()}};
  response.body = std::move(body);
  return response;
}

std::size_t Router::MaxBody(const Route& route) const {
  switch (route.body) {
    case BodyKind::kPayload:
      return service_.limits.payload;
    case BodyKind::kArchive:
      return service_.limits.archive / 3 * 4 + kJsonAround;
    case BodyKind::kSmall:
      break;
  }
  return kSmallBody;
}

Guard Router::GuardOf(const Route& route) const {
  return service_.public_functions && route.handler == CallUrl ? Guard::kOpen : route.guard;
}

HttpHandler::Admission Router::Admit(const HttpRequest& head) {
  Admission admission;
  const Found found = Find(head);
  // Who may not ask is not told what there is.
  const Guard guard = found.route == nullptr ? Guard::kFull : GuardOf(*found.route);
  if (auto refusal = access_.CheckHead(head, guard)) {
    admission.refusal = std::move(*refusal);
    return admission;
  }
  if (found.route == nullptr) {
    if (auto page = StaticPage(head)) {
      admission.refusal = std::move(*page);
      return admission;
    }
    admission.refusal = NoRoute(head, found);
    return admission;
  }
  if (found.route->handler != CallUrl && !IsJsonType(head.Get("content-type"))) {
    admission.refusal = LambdaError(415, "UnsupportedMediaTypeException",
                                    "Content-Type: expected application/json");
    return admission;
  }
  admission.admitted = true;
  admission.max_body = MaxBody(*found.route);
  admission.too_large = PayloadTooLarge;
  return admission;
}

void Router::Handle(const ExchangePtr& exchange) {
  Found found = Find(exchange->request);
  if (found.route == nullptr) return exchange->Respond(NoRoute(exchange->request, found));
  if (auto refusal = access_.CheckWhole(exchange->request, GuardOf(*found.route)))
    return exchange->Respond(std::move(*refusal));
  found.route->handler(service_, exchange, found.match);
}

}  // namespace spore::gateway
