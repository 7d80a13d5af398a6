#include "tools/gateway/lambda_concurrency.h"

#include <algorithm>
#include <utility>

#include "spore/v1/spore.pb.h"
#include "tools/gateway/lambda_error.h"
#include "tools/gateway/lambda_settings.h"
#include "tools/gateway/lambda_target.h"

namespace spore::gateway {
namespace {

using Json = nlohmann::json;
constexpr char kFunctions[] = "spore.v1.Functions";
constexpr int64_t kMostInstances = 10000;
constexpr uint32_t kDefaultInstances = 100;  // spored's, where nobody has said anything

using OnFunction = std::function<HttpResponse(const v1::Function&)>;

// Changes what is set in `settings`, and nothing else.
void Change(Service& service, const ExchangePtr& exchange, const std::string& name,
            const v1::FunctionSettings& settings, OnFunction answer) {
  v1::UpdateRequest request;
  request.set_name(name);
  *request.mutable_settings() = settings;
  request.set_keep_environment(true);
  service.spored.Ask<v1::Function>(
      kFunctions, "Update", request,
      [exchange, name, answer = std::move(answer)](client::Result<v1::Function> function) {
        exchange->Respond(function ? answer(*function) : ErrorOf(function.error(), name));
      });
}

void Look(Service& service, const ExchangePtr& exchange, const std::string& name,
          OnFunction answer) {
  v1::GetFunctionRequest request;
  request.set_name(name);
  service.spored.Ask<v1::Function>(
      kFunctions, "Get", request,
      [exchange, name, answer = std::move(answer)](client::Result<v1::Function> function) {
        exchange->Respond(function ? answer(*function) : ErrorOf(function.error(), name));
      });
}

HttpResponse Reserved(const v1::Function& function) {
  return JsonResponse(
      200, Dump({{"ReservedConcurrentExecutions", function.settings().limits().max_instances()}}));
}

HttpResponse Provisioned(int status, const v1::Function& function) {
  const uint32_t asked = function.settings().min_instances();
  const uint32_t ready = std::min(asked, function.instances());
  return JsonResponse(status, Dump({{"RequestedProvisionedConcurrentExecutions", asked},
                                    {"AvailableProvisionedConcurrentExecutions", ready},
                                    {"AllocatedProvisionedConcurrentExecutions", ready},
                                    {"Status", ready == asked ? "READY" : "IN_PROGRESS"},
                                    {"LastModified", Configuration(function)["LastModified"]}}));
}

// What both kinds of PUT begin with: the function, and a number of the body.
struct Asked {
  std::string name;
  int64_t count = -1;
};
Checked<Asked> ReadAsked(const HttpRequest& request, const RouteMatch& match, const char* field,
                         int64_t least) {
  Asked asked;
  auto target = ReadTarget(request, match);
  if (!target) return tl::unexpected(target.error());
  asked.name = target->name;
  auto json = ParseBody(request);
  if (!json) return tl::unexpected(json.error());
  if (auto read = ReadInteger(*json, field, least, kMostInstances, &asked.count); !read)
    return tl::unexpected(read.error());
  if (asked.count < 0)
    return tl::unexpected(InvalidParameter(std::string(field) + ": missing; expected an integer"));
  return asked;
}

}  // namespace

void PutConcurrency(Service& service, const ExchangePtr& exchange, const RouteMatch& match) {
  const auto asked = ReadAsked(exchange->request, match, "ReservedConcurrentExecutions", 1);
  if (!asked) return exchange->Respond(asked.error());
  v1::FunctionSettings settings;
  settings.mutable_limits()->set_max_instances(static_cast<uint32_t>(asked->count));
  Change(service, exchange, asked->name, settings, Reserved);
}

void GetConcurrency(Service& service, const ExchangePtr& exchange, const RouteMatch& match) {
  const auto target = ReadTarget(exchange->request, match);
  if (!target) return exchange->Respond(target.error());
  Look(service, exchange, target->name, Reserved);
}

void DeleteConcurrency(Service& service, const ExchangePtr& exchange, const RouteMatch& match) {
  const auto target = ReadTarget(exchange->request, match);
  if (!target) return exchange->Respond(target.error());
  v1::FunctionSettings settings;
  settings.mutable_limits()->set_max_instances(kDefaultInstances);
  Change(service, exchange, target->name, settings,
         [](const v1::Function&) { return JsonResponse(204, {}); });
}

void PutProvisioned(Service& service, const ExchangePtr& exchange, const RouteMatch& match) {
  const auto asked = ReadAsked(exchange->request, match, "ProvisionedConcurrentExecutions", 1);
  if (!asked) return exchange->Respond(asked.error());
  v1::FunctionSettings settings;
  settings.set_min_instances(static_cast<uint32_t>(asked->count));
  Change(service, exchange, asked->name, settings,
         [](const v1::Function& function) { return Provisioned(202, function); });
}

void GetProvisioned(Service& service, const ExchangePtr& exchange, const RouteMatch& match) {
  const auto target = ReadTarget(exchange->request, match);
  if (!target) return exchange->Respond(target.error());
  const bool list = QueryValue(exchange->request, "List") == "ALL";
  Look(service, exchange, target->name, [list](const v1::Function& function) {
    const bool some = function.settings().min_instances() > 0;
    if (!list && !some) {
      return LambdaError(404, "ProvisionedConcurrencyConfigNotFoundException",
                         "No Provisioned Concurrency Config found for this function");
    }
    HttpResponse one = Provisioned(200, function);
    if (!list) return one;
    Json entries = Json::array();
    if (some) {
      entries.push_back(Json::parse(one.body));
      entries.back()["FunctionArn"] = FunctionArn(function.name());
    }
    return JsonResponse(200, Dump({{"ProvisionedConcurrencyConfigs", entries}}));
  });
}

void DeleteProvisioned(Service& service, const ExchangePtr& exchange, const RouteMatch& match) {
  const auto target = ReadTarget(exchange->request, match);
  if (!target) return exchange->Respond(target.error());
  v1::FunctionSettings settings;
  settings.set_min_instances(0);
  Change(service, exchange, target->name, settings,
         [](const v1::Function&) { return JsonResponse(204, {}); });
}

}  // namespace spore::gateway
