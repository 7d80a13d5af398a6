#include "tools/gateway/lambda_tags.h"

#include "tools/gateway/encoding.h"
#include "tools/gateway/lambda_call.h"
#include "tools/gateway/lambda_target.h"
#include "tools/gateway/text.h"

namespace spore::gateway {

using Json = nlohmann::json;

Checked<> ReadTags(const Json& json, v1::TagRequest* request) {
  const auto tags = json.find("Tags");
  if (tags == json.end() || tags->is_null()) return {};
  if (!tags->is_object()) return tl::unexpected(InvalidParameter("Tags: expected an object"));
  for (const auto& [key, value] : tags->items()) {
    if (!value.is_string())
      return tl::unexpected(InvalidParameter("Tags." + key.substr(0, 80) + ": expected a string"));
    (*request->mutable_set())[key] = value.get<std::string>();
  }
  return {};
}

Json TagsOf(const v1::Function& function) {
  Json tags = Json::object();
  for (const auto& [key, value] : function.tags()) tags[key] = value;
  return tags;
}

void ListTags(Service& service, const ExchangePtr& exchange, const RouteMatch& match) {
  const auto target = ReadWorkingCopy(exchange->request, match);
  if (!target) return exchange->Respond(target.error());
  v1::GetFunctionRequest request;
  request.set_name(target->name);
  Relay<v1::Function>(service, exchange, kFunctions, "Get", request, target->name,
                      [](const v1::Function& function) {
                        return JsonResponse(200, Dump({{"Tags", TagsOf(function)}}));
                      });
}

void TagResource(Service& service, const ExchangePtr& exchange, const RouteMatch& match) {
  const auto target = ReadWorkingCopy(exchange->request, match);
  if (!target) return exchange->Respond(target.error());
  auto json = ParseBody(exchange->request);
  if (!json) return exchange->Respond(std::move(json.error()));
  v1::TagRequest request;
  request.set_name(target->name);
  if (auto read = ReadTags(*json, &request); !read)
    return exchange->Respond(std::move(read.error()));
  if (request.set().empty())
    return exchange->Respond(InvalidParameter("Tags: missing; expected an object"));
  Relay<v1::TagResponse>(service, exchange, kVersions, "Tag", request, target->name,
                         [](const v1::TagResponse&) { return JsonResponse(204, {}); });
}

void UntagResource(Service& service, const ExchangePtr& exchange, const RouteMatch& match) {
  const auto target = ReadWorkingCopy(exchange->request, match);
  if (!target) return exchange->Respond(target.error());
  v1::TagRequest request;
  request.set_name(target->name);
  for (const std::string_view part : Split(exchange->request.query(), '&')) {
    if (!part.starts_with("tagKeys=")) continue;
    auto key = PercentDecode(part.substr(std::string_view("tagKeys=").size()), true);
    if (!key || !IsUtf8(*key)) return exchange->Respond(InvalidParameter("tagKeys: not text"));
    request.add_remove(std::move(*key));
  }
  if (request.remove().empty())
    return exchange->Respond(InvalidParameter("tagKeys: missing; expected the tags' keys"));
  Relay<v1::TagResponse>(service, exchange, kVersions, "Tag", request, target->name,
                         [](const v1::TagResponse&) { return JsonResponse(204, {}); });
}

}  // namespace spore::gateway
