#include "tools/gateway/lambda_aliases.h"

#include <utility>

#include "spore/v1/versions.pb.h"
#include "tools/gateway/encoding.h"
#include "tools/gateway/lambda_call.h"
#include "tools/gateway/lambda_settings.h"
#include "tools/gateway/lambda_target.h"
#include "tools/gateway/text.h"

namespace spore::gateway {
namespace {

using Json = nlohmann::json;

Json AliasConfiguration(const std::string& function, const v1::Alias& alias) {
  Json json = {{"AliasArn", FunctionArn(function, alias.name())},
               {"Name", alias.name()},
               {"FunctionVersion", std::to_string(alias.version())},
               {"Description", alias.description()},
               {"RevisionId", alias.revision_id()}};
  if (alias.second_version() != 0) {
    json["RoutingConfig"]["AdditionalVersionWeights"] = {
        {std::to_string(alias.second_version()), alias.second_weight()}};
  }
  return json;
}

Checked<> ReadVersion(const Json& json, uint64_t* version) {
  std::string text;
  if (auto read = ReadString(json, "FunctionVersion", &text); !read) return read;
  if (text.empty()) return {};
  const auto number = ParseNumber<uint64_t>(text);
  if (!number || *number == 0) {
    return tl::unexpected(InvalidParameter("FunctionVersion: \"" + text.substr(0, 80) +
                                           "\"; expected the number of a published version"));
  }
  *version = *number;
  return {};
}

// "RoutingConfig": {"AdditionalVersionWeights": {"2": 0.1}}; an empty one takes the second away.
Checked<> ReadRouting(const Json& json, v1::SetAliasRequest* request) {
  const auto routing = json.find("RoutingConfig");
  if (routing == json.end() || routing->is_null()) return {};
  const auto wrong = [] {
    return tl::unexpected(InvalidParameter(
        "RoutingConfig: expected {\"AdditionalVersionWeights\": {VERSION: 0 to 1}} with at most "
        "one version"));
  };
  if (!routing->is_object()) return wrong();
  const auto weights = routing->find("AdditionalVersionWeights");
  if (weights == routing->end() || weights->is_null() || weights->empty()) {
    request->set_clear_second(true);
    return {};
  }
  if (!weights->is_object() || weights->size() != 1) return wrong();
  const auto first = weights->begin();
  const auto number = ParseNumber<uint64_t>(first.key());
  if (!number || *number == 0 || !first.value().is_number()) return wrong();
  request->mutable_alias()->set_second_version(*number);
  request->mutable_alias()->set_second_weight(first.value().get<double>());
  return {};
}

Checked<v1::SetAliasRequest> ReadAlias(const HttpRequest& http, const std::string& function,
                                       std::string alias, bool create) {
  auto json = ParseBody(http);
  if (!json) return tl::unexpected(json.error());
  v1::SetAliasRequest request;
  request.set_name(function);
  request.set_create(create);
  request.set_update(!create);
  v1::Alias& made = *request.mutable_alias();
  if (create) {
    if (auto read = ReadString(*json, "Name", &alias); !read) return tl::unexpected(read.error());
  }
  made.set_name(std::move(alias));
  uint64_t version = 0;
  if (auto read = ReadVersion(*json, &version); !read) return tl::unexpected(read.error());
  if (create && version == 0)
    return tl::unexpected(InvalidParameter("FunctionVersion: missing; expected a number"));
  made.set_version(version);
  if (auto read = ReadString(*json, "Description", made.mutable_description()); !read)
    return tl::unexpected(read.error());
  if (!create && json->contains("Description") && made.description().empty())
    request.set_clear_description(true);
  if (auto read = ReadString(*json, "RevisionId", made.mutable_revision_id()); !read)
    return tl::unexpected(read.error());
  if (auto read = ReadRouting(*json, &request); !read) return tl::unexpected(read.error());
  if (create) request.set_clear_second(false);
  return request;
}

void SetAlias(Service& service, const ExchangePtr& exchange, const v1::SetAliasRequest& request,
              int status) {
  const std::string about = request.name() + ":" + request.alias().name();
  service.spored.Ask<v1::Alias>(
      kVersions, "SetAlias", request,
      [exchange, about, name = request.name(), status](client::Result<v1::Alias> alias) {
        if (alias)
          return exchange->Respond(JsonResponse(status, Dump(AliasConfiguration(name, *alias))));
        if (alias.error().code == client::kAlreadyExists) {
          return exchange->Respond(LambdaError(409, "ResourceConflictException",
                                               "Alias already exists: " + FunctionArn(about)));
        }
        exchange->Respond(ErrorOf(alias.error(), about));
      });
}

HttpResponse NoAlias(const std::string& function, const std::string& alias) {
  return LambdaError(404, "ResourceNotFoundException",
                     "Cannot find alias arn: " + FunctionArn(function, alias));
}

}  // namespace

void CreateAlias(Service& service, const ExchangePtr& exchange, const RouteMatch& match) {
  const auto target = ReadWorkingCopy(exchange->request, match);
  if (!target) return exchange->Respond(target.error());
  const auto request = ReadAlias(exchange->request, target->name, {}, true);
  if (!request) return exchange->Respond(request.error());
  SetAlias(service, exchange, *request, 201);
}

void UpdateAlias(Service& service, const ExchangePtr& exchange, const RouteMatch& match) {
  const auto target = ReadWorkingCopy(exchange->request, match);
  if (!target) return exchange->Respond(target.error());
  const auto request = ReadAlias(exchange->request, target->name, match.parts.at(1), false);
  if (!request) return exchange->Respond(request.error());
  SetAlias(service, exchange, *request, 200);
}

void GetAlias(Service& service, const ExchangePtr& exchange, const RouteMatch& match) {
  const auto target = ReadWorkingCopy(exchange->request, match);
  if (!target) return exchange->Respond(target.error());
  v1::ListAliasesRequest request;
  request.set_name(target->name);
  Relay<v1::ListAliasesResponse>(
      service, exchange, kVersions, "ListAliases", request, target->name,
      [name = target->name, wanted = match.parts.at(1)](const v1::ListAliasesResponse& response) {
        for (const v1::Alias& alias : response.aliases()) {
          if (alias.name() == wanted)
            return JsonResponse(200, Dump(AliasConfiguration(name, alias)));
        }
        return NoAlias(name, wanted.substr(0, 140));
      });
}

void ListAliases(Service& service, const ExchangePtr& exchange, const RouteMatch& match) {
  const auto target = ReadWorkingCopy(exchange->request, match);
  if (!target) return exchange->Respond(target.error());
  const auto most = ReadMaxItems(exchange->request);
  if (!most) return exchange->Respond(most.error());
  v1::ListAliasesRequest request;
  request.set_name(target->name);
  const std::string version = QueryValue(exchange->request, "FunctionVersion");
  if (!version.empty()) {
    const auto number = ParseNumber<uint64_t>(version);
    if (!number || *number == 0)
      return exchange->Respond(InvalidParameter("FunctionVersion: expected a number"));
    request.set_version(*number);
  }
  const auto after = FromBase64(QueryValue(exchange->request, "Marker"));
  if (!after)
    return exchange->Respond(InvalidParameter("Marker: not one that NextMarker has given"));
  Relay<v1::ListAliasesResponse>(
      service, exchange, kVersions, "ListAliases", request, target->name,
      [name = target->name, after = *after, most = *most](const v1::ListAliasesResponse& response) {
        Json json = {{"Aliases", Json::array()}};
        std::string last;
        for (const v1::Alias& alias : response.aliases()) {  // by name
          if (alias.name() <= after) continue;
          if (json["Aliases"].size() == most) {
            json["NextMarker"] = Base64(last);
            break;
          }
          json["Aliases"].push_back(AliasConfiguration(name, alias));
          last = alias.name();
        }
        return JsonResponse(200, Dump(json));
      });
}

void DeleteAlias(Service& service, const ExchangePtr& exchange, const RouteMatch& match) {
  const auto target = ReadWorkingCopy(exchange->request, match);
  if (!target) return exchange->Respond(target.error());
  v1::RemoveAliasRequest request;
  request.set_name(target->name);
  request.set_alias(match.parts.at(1));
  Relay<v1::RemoveAliasResponse>(
      service, exchange, kVersions, "RemoveAlias", request,
      target->name + ":" + request.alias().substr(0, 140),
      [](const v1::RemoveAliasResponse&) { return JsonResponse(204, {}); });
}

}  // namespace spore::gateway
