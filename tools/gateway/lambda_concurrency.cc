#include "tools/gateway/lambda_concurrency.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "spore/v1/versions.pb.h"
#include "tools/gateway/lambda_call.h"
#include "tools/gateway/lambda_settings.h"
#include "tools/gateway/lambda_target.h"
#include "tools/gateway/text.h"

namespace spore::gateway {
namespace {

using Json = nlohmann::json;
constexpr int64_t kMostInstances = 10000;

Checked<uint32_t> ReadCount(const HttpRequest& request, const char* field, int64_t least) {
  auto json = ParseBody(request);
  if (!json) return tl::unexpected(json.error());
  int64_t count = -1;
  if (auto read = ReadInteger(*json, field, least, kMostInstances, &count); !read)
    return tl::unexpected(read.error());
  if (count < 0)
    return tl::unexpected(InvalidParameter(std::string(field) + ": missing; expected an integer"));
  return static_cast<uint32_t>(count);
}

void SetConcurrency(Service& service, const ExchangePtr& exchange,
                    const v1::SetConcurrencyRequest& request) {
  Relay<v1::SetConcurrencyResponse>(
      service, exchange, kVersions, "SetConcurrency", request, request.name(),
      [](const v1::SetConcurrencyResponse& response) {
        if (!response.has_concurrency()) return JsonResponse(204, {});
        return JsonResponse(200, Dump({{"ReservedConcurrentExecutions", response.concurrency()}}));
      });
}

HttpResponse NoProvision() {
  return LambdaError(404, "ProvisionedConcurrencyConfigNotFoundException",
                     "No Provisioned Concurrency Config found for this function");
}

// What is asked for under one qualifier.
struct Provision {
  std::string qualifier;
  uint32_t instances = 0;
  std::vector<std::string> versions;  // to which it goes
  int64_t changed_unix_ms = 0;
};

// A function's provisions and its live instances, by version: three questions to spored.
struct Picture {
  std::string name;
  std::vector<Provision> provisions;
  std::vector<std::string> instances;  // the qualifier of each
};
using OnPicture = std::function<void(Picture)>;

void AddVersions(const v1::ListVersionsResponse& response, Picture& picture) {
  for (const v1::PublishedVersion& version : response.versions()) {
    if (version.min_instances() == 0) continue;
    const std::string number = std::to_string(version.number());
    picture.provisions.push_back(
        {number, version.min_instances(), {number}, version.published_unix_ms()});
  }
}

void AddAliases(const v1::ListAliasesResponse& response, Picture& picture) {
  for (const v1::Alias& alias : response.aliases()) {
    if (alias.min_instances() == 0) continue;
    Provision provision{alias.name(), alias.min_instances(), {std::to_string(alias.version())}, 0};
    if (alias.second_version() != 0)
      provision.versions.push_back(std::to_string(alias.second_version()));
    picture.provisions.push_back(std::move(provision));
  }
}

void LookAtInstances(Service& service, const ExchangePtr& exchange, Picture picture,
                     OnPicture done) {
  v1::ListInstancesRequest request;
  request.set_function(picture.name);
  service.spored.Ask<v1::ListInstancesResponse>(
      "spore.v1.Instances", "List", request,
      [exchange, picture = std::move(picture),
       done = std::move(done)](client::Result<v1::ListInstancesResponse> response) mutable {
        if (!response) return exchange->Respond(ErrorOf(response.error(), picture.name));
        for (const v1::Instance& instance : response->instances()) {
          if (instance.state() != v1::Instance::STARTING)
            picture.instances.push_back(instance.qualifier());
        }
        done(std::move(picture));
      });
}

void LookAt(Service& service, const ExchangePtr& exchange, const std::string& name,
            OnPicture done) {
  v1::ListVersionsRequest versions;
  versions.set_name(name);
  service.spored.Ask<v1::ListVersionsResponse>(
      kVersions, "List", versions,
      [&service, exchange, name,
       done = std::move(done)](client::Result<v1::ListVersionsResponse> response) mutable {
        if (!response) return exchange->Respond(ErrorOf(response.error(), name));
        Picture picture{name, {}, {}};
        AddVersions(*response, picture);
        v1::ListAliasesRequest aliases;
        aliases.set_name(name);
        service.spored.Ask<v1::ListAliasesResponse>(
            kVersions, "ListAliases", aliases,
            [&service, exchange, picture = std::move(picture),
             done = std::move(done)](client::Result<v1::ListAliasesResponse> found) mutable {
              if (!found) return exchange->Respond(ErrorOf(found.error(), picture.name));
              AddAliases(*found, picture);
              LookAtInstances(service, exchange, std::move(picture), std::move(done));
            });
      });
}

Json Describe(const Picture& picture, const Provision& provision) {
  const auto live = static_cast<uint32_t>(
      std::count_if(picture.instances.begin(), picture.instances.end(), [&](const auto& version) {
        return std::find(provision.versions.begin(), provision.versions.end(), version) !=
               provision.versions.end();
      }));
  const uint32_t ready = std::min(live, provision.instances);
  return {{"RequestedProvisionedConcurrentExecutions", provision.instances},
          {"AvailableProvisionedConcurrentExecutions", ready},
          {"AllocatedProvisionedConcurrentExecutions", ready},
          {"Status", ready == provision.instances ? "READY" : "IN_PROGRESS"},
          {"LastModified", LambdaTime(provision.changed_unix_ms)}};
}

void AnswerOne(Service& service, const ExchangePtr& exchange, const FunctionName& target,
               int status) {
  LookAt(service, exchange, target.name, [exchange, target, status](const Picture& picture) {
    for (const Provision& provision : picture.provisions) {
      if (provision.qualifier == target.qualifier)
        return exchange->Respond(JsonResponse(status, Dump(Describe(picture, provision))));
    }
    exchange->Respond(NoProvision());
  });
}

Checked<FunctionName> ReadPublished(const HttpRequest& request, const RouteMatch& match) {
  auto target = ReadTarget(request, match);
  if (!target || (!target->qualifier.empty() && target->qualifier != "$LATEST")) return target;
  return tl::unexpected(InvalidParameter(
      "Qualifier: Provisioned Concurrency Configs cannot be applied to unpublished function "
      "versions; expected a version's number or an alias"));
}

void SetProvision(Service& service, const ExchangePtr& exchange, const FunctionName& target,
                  uint32_t instances) {
  v1::ProvisionRequest request;
  request.set_name(target.name);
  request.set_qualifier(target.qualifier);
  request.set_instances(instances);
  service.spored.Ask<v1::ProvisionResponse>(
      kVersions, "Provision", request,
      [&service, exchange, target, instances](client::Result<v1::ProvisionResponse> done) {
        if (!done) return exchange->Respond(ErrorOf(done.error(), Qualified(target)));
        if (instances == 0) return exchange->Respond(JsonResponse(204, {}));
        AnswerOne(service, exchange, target, 202);
      });
}

}  // namespace

void PutConcurrency(Service& service, const ExchangePtr& exchange, const RouteMatch& match) {
  const auto target = ReadWorkingCopy(exchange->request, match);
  if (!target) return exchange->Respond(target.error());
  const auto count = ReadCount(exchange->request, "ReservedConcurrentExecutions", 0);
  if (!count) return exchange->Respond(count.error());
  v1::SetConcurrencyRequest request;
  request.set_name(target->name);
  request.set_concurrency(*count);
  SetConcurrency(service, exchange, request);
}

void GetConcurrency(Service& service, const ExchangePtr& exchange, const RouteMatch& match) {
  const auto target = ReadWorkingCopy(exchange->request, match);
  if (!target) return exchange->Respond(target.error());
  v1::GetFunctionRequest request;
  request.set_name(target->name);
  Relay<v1::Function>(service, exchange, kFunctions, "Get", request, target->name,
                      [](const v1::Function& function) {
                        Json json = Json::object();
                        if (function.has_concurrency())
                          json["ReservedConcurrentExecutions"] = function.concurrency();
                        return JsonResponse(200, Dump(json));
                      });
}

void DeleteConcurrency(Service& service, const ExchangePtr& exchange, const RouteMatch& match) {
  const auto target = ReadWorkingCopy(exchange->request, match);
  if (!target) return exchange->Respond(target.error());
  v1::SetConcurrencyRequest request;
  request.set_name(target->name);
  SetConcurrency(service, exchange, request);
}

void PutProvisioned(Service& service, const ExchangePtr& exchange, const RouteMatch& match) {
  const auto target = ReadPublished(exchange->request, match);
  if (!target) return exchange->Respond(target.error());
  const auto count = ReadCount(exchange->request, "ProvisionedConcurrentExecutions", 1);
  if (!count) return exchange->Respond(count.error());
  SetProvision(service, exchange, *target, *count);
}

void GetProvisioned(Service& service, const ExchangePtr& exchange, const RouteMatch& match) {
  if (QueryValue(exchange->request, "List") != "ALL") {
    const auto target = ReadPublished(exchange->request, match);
    if (!target) return exchange->Respond(target.error());
    return AnswerOne(service, exchange, *target, 200);
  }
  const auto target = ReadWorkingCopy(exchange->request, match);
  if (!target) return exchange->Respond(target.error());
  LookAt(service, exchange, target->name, [exchange](const Picture& picture) {
    Json entries = Json::array();
    for (const Provision& provision : picture.provisions) {
      entries.push_back(Describe(picture, provision));
      entries.back()["FunctionArn"] = FunctionArn(picture.name, provision.qualifier);
    }
    exchange->Respond(JsonResponse(200, Dump({{"ProvisionedConcurrencyConfigs", entries}})));
  });
}

void DeleteProvisioned(Service& service, const ExchangePtr& exchange, const RouteMatch& match) {
  const auto target = ReadPublished(exchange->request, match);
  if (!target) return exchange->Respond(target.error());
  SetProvision(service, exchange, *target, 0);
}

}  // namespace spore::gateway
