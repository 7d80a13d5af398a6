#include "tools/gateway/lambda_versions.h"

#include "tools/gateway/encoding.h"
#include "tools/gateway/lambda_call.h"
#include "tools/gateway/lambda_settings.h"
#include "tools/gateway/lambda_target.h"
#include "tools/gateway/text.h"

namespace spore::gateway {
namespace {

using Json = nlohmann::json;

struct Page {
  uint64_t after = 0;
  uint32_t most = kPageItems;
  bool first = true;
};
Checked<Page> ReadPage(const HttpRequest& request) {
  Page page;
  auto most = ReadMaxItems(request);
  if (!most) return tl::unexpected(most.error());
  page.most = *most;
  const std::string marker = QueryValue(request, "Marker");
  if (marker.empty()) return page;
  const auto after = ParseNumber<uint64_t>(marker);
  if (!after) return tl::unexpected(InvalidParameter("Marker: not one that NextMarker has given"));
  page.after = *after;
  page.first = false;
  return page;
}

HttpResponse Listing(const v1::ListVersionsResponse& response, const v1::Function* latest) {
  Json versions = Json::array();
  if (latest != nullptr) versions.push_back(Configuration(*latest, "$LATEST"));
  for (const v1::PublishedVersion& version : response.versions()) {
    if (version.has_function())
      versions.push_back(Configuration(version.function(), std::to_string(version.number())));
  }
  Json json = {{"Versions", std::move(versions)}};
  if (response.next_marker() != 0) json["NextMarker"] = std::to_string(response.next_marker());
  return JsonResponse(200, Dump(json));
}

}  // namespace

void Publish(Service& service, const ExchangePtr& exchange,
             const v1::PublishVersionRequest& request, int status) {
  Relay<v1::PublishVersionResponse>(
      service, exchange, kVersions, "Publish", request, request.name(),
      [status](const v1::PublishVersionResponse& response) {
        const v1::PublishedVersion& version = response.version();
        return JsonResponse(
            status, Dump(Configuration(version.function(), std::to_string(version.number()))));
      });
}

void PublishVersion(Service& service, const ExchangePtr& exchange, const RouteMatch& match) {
  const auto target = ReadWorkingCopy(exchange->request, match);
  if (!target) return exchange->Respond(target.error());
  auto json = ParseBody(exchange->request);
  if (!json) return exchange->Respond(std::move(json.error()));
  v1::PublishVersionRequest request;
  request.set_name(target->name);
  std::string description, code;
  if (auto read = ReadString(*json, "Description", &description); !read)
    return exchange->Respond(std::move(read.error()));
  if (auto read = ReadString(*json, "RevisionId", request.mutable_revision_id()); !read)
    return exchange->Respond(std::move(read.error()));
  if (auto read = ReadString(*json, "CodeSha256", &code); !read)
    return exchange->Respond(std::move(read.error()));
  if (!description.empty()) request.set_description(description);
  if (!code.empty()) {
    const auto bytes = FromBase64(code);
    if (!bytes) return exchange->Respond(InvalidParameter("CodeSha256: not base64"));
    request.set_code_digest("sha256:" + Hex(*bytes));
  }
  Publish(service, exchange, request, 201);
}

void ListVersions(Service& service, const ExchangePtr& exchange, const RouteMatch& match) {
  const auto target = ReadWorkingCopy(exchange->request, match);
  if (!target) return exchange->Respond(target.error());
  const auto page = ReadPage(exchange->request);
  if (!page) return exchange->Respond(page.error());
  v1::ListVersionsRequest request;
  request.set_name(target->name);
  request.set_marker(page->after);
  request.set_limit(page->most);
  if (!page->first) {
    return Relay<v1::ListVersionsResponse>(
        service, exchange, kVersions, "List", request, target->name,
        [](const v1::ListVersionsResponse& response) { return Listing(response, nullptr); });
  }
  // The working copy comes first.
  if (page->most > 1) request.set_limit(page->most - 1);
  v1::GetFunctionRequest latest;
  latest.set_name(target->name);
  service.spored.Ask<v1::Function>(
      kFunctions, "Get", latest,
      [&service, exchange, request, name = target->name](client::Result<v1::Function> function) {
        if (!function) return exchange->Respond(ErrorOf(function.error(), name));
        Relay<v1::ListVersionsResponse>(
            service, exchange, kVersions, "List", request, name,
            [function = std::move(*function)](const v1::ListVersionsResponse& response) {
              return Listing(response, &function);
            });
      });
}

}  // namespace spore::gateway
