#include "tools/gateway/lambda_functions.h"

#include <algorithm>
#include <utility>

#include "spore/v1/spore.pb.h"
#include "tools/client/memfd.h"
#include "tools/gateway/encoding.h"
#include "tools/gateway/lambda_error.h"
#include "tools/gateway/lambda_name.h"
#include "tools/gateway/lambda_settings.h"
#include "tools/gateway/lambda_target.h"
#include "tools/gateway/text.h"

namespace spore::gateway {
namespace {

using Json = nlohmann::json;
constexpr char kFunctions[] = "spore.v1.Functions";
constexpr std::size_t kPage = 50;             // Lambda's, whatever MaxItems asks for beyond
constexpr uint64_t kDefaultTimeoutMs = 3000;  // Lambda's, for who says nothing

// The archive of "ZipFile", taken out of `json` and sealed.
Checked<client::Fd> TakeZip(const Json& json, std::size_t limit) {
  for (const char* field : {"S3Bucket", "S3Key", "ImageUri"}) {
    if (json.contains(field) && !json[field].is_null()) {
      return tl::unexpected(
          InvalidParameter(std::string(field) + ": Spore takes code as ZipFile only"));
    }
  }
  const auto found = json.find("ZipFile");
  if (found == json.end() || !found->is_string())
    return tl::unexpected(InvalidParameter("ZipFile: missing; expected a zip file in base64"));
  const auto bytes = FromBase64(found->get_ref<const std::string&>());
  if (!bytes) return tl::unexpected(InvalidParameter("ZipFile: not base64"));
  if (bytes->size() > limit) {
    return tl::unexpected(LambdaError(413, "RequestTooLargeException",
                                      "ZipFile: " + std::to_string(bytes->size()) +
                                          " bytes; expected at most " + std::to_string(limit)));
  }
  // Of a file of the archive, or of its end when it is empty.
  if (!bytes->starts_with("PK\x03\x04") && !bytes->starts_with("PK\x05\x06")) {
    return tl::unexpected(
        InvalidParameter("Could not unzip uploaded file. Please check your file, then try to "
                         "upload again."));
  }
  auto memfd = client::SealedMemfd("spore-code", *bytes);
  if (!memfd) return tl::unexpected(LambdaError(500, "ServiceException", memfd.error().message));
  return std::move(*memfd);
}

HttpResponse ConfigurationResponse(int status, const v1::Function& function) {
  return JsonResponse(status, Dump(Configuration(function)));
}

Checked<> RefusePublish(const Json& json) {
  bool publish = false;
  if (auto read = ReadBool(json, "Publish", &publish); !read) return read;
  if (publish) return tl::unexpected(NotSupported("Publish: true is not supported yet"));
  return {};
}

Checked<v1::DeployRequest> ReadCreate(const Json& json, std::size_t limit, client::Fd* archive) {
  v1::DeployRequest request;
  std::string name;
  if (auto read = ReadString(json, "FunctionName", &name); !read)
    return tl::unexpected(read.error());
  const auto parsed = ParseFunctionName(name);
  if (!parsed || !parsed->qualifier.empty())
    return tl::unexpected(InvalidParameter("FunctionName: \"" + name.substr(0, 80) +
                                           "\" is no function's name or ARN"));
  request.set_name(parsed->name);
  if (auto fine = RefusePublish(json); !fine) return tl::unexpected(fine.error());
  bool environment = false;
  v1::FunctionSettings& settings = *request.mutable_settings();
  if (auto read = ReadSettings(json, &settings, &environment); !read)
    return tl::unexpected(read.error());
  if (settings.runtime().empty())
    return tl::unexpected(InvalidParameter("Runtime: missing; expected python3.11 or the like"));
  if (settings.handler().empty())
    return tl::unexpected(InvalidParameter("Handler: missing; expected MODULE.FUNCTION"));
  if (settings.limits().timeout_ms() == 0)
    settings.mutable_limits()->set_timeout_ms(kDefaultTimeoutMs);
  const auto code = json.find("Code");
  if (code == json.end() || !code->is_object())
    return tl::unexpected(InvalidParameter("Code: missing; expected {\"ZipFile\": BASE64}"));
  auto zip = TakeZip(*code, limit);
  if (!zip) return tl::unexpected(zip.error());
  *archive = std::move(*zip);
  return request;
}

void Update(Service& service, const ExchangePtr& exchange, const v1::UpdateRequest& request,
            std::vector<client::Fd> fds) {
  const std::string name = request.name();
  service.spored.Call<v1::Function>(
      kFunctions, "Update", request, std::move(fds),
      [exchange, name](client::Result<v1::Function> function, FdQueue&) {
        exchange->Respond(function ? ConfigurationResponse(200, *function)
                                   : ErrorOf(function.error(), name));
      });
}

Json Listing(const std::vector<const v1::Function*>& functions, std::size_t most) {
  Json page = Json::array();
  for (const v1::Function* function : functions) {
    if (page.size() == most) break;
    page.push_back(Configuration(*function));
  }
  Json json = {{"Functions", page}};
  if (functions.size() > most) json["NextMarker"] = Base64(functions[most - 1]->name());
  return json;
}

}  // namespace

void CreateFunction(Service& service, const ExchangePtr& exchange, const RouteMatch&) {
  auto json = ParseBody(exchange->request);
  std::string().swap(exchange->request.body);
  if (!json) return exchange->Respond(std::move(json.error()));
  client::Fd archive;
  auto request = ReadCreate(*json, service.limits.archive, &archive);
  if (!request) return exchange->Respond(std::move(request.error()));
  std::vector<client::Fd> fds;
  fds.push_back(std::move(archive));
  const std::string name = request->name();
  service.spored.Call<v1::Function>(
      kFunctions, "Deploy", *request, std::move(fds),
      [exchange, name](client::Result<v1::Function> function, FdQueue&) {
        exchange->Respond(function ? ConfigurationResponse(201, *function)
                                   : ErrorOf(function.error(), name));
      });
}

void UpdateFunctionCode(Service& service, const ExchangePtr& exchange, const RouteMatch& match) {
  const auto target = ReadTarget(exchange->request, match);
  if (!target) return exchange->Respond(target.error());
  auto json = ParseBody(exchange->request);
  std::string().swap(exchange->request.body);
  if (!json) return exchange->Respond(std::move(json.error()));
  if (auto fine = RefusePublish(*json); !fine) return exchange->Respond(std::move(fine.error()));
  bool dry_run = false;
  if (auto read = ReadBool(*json, "DryRun", &dry_run); !read)
    return exchange->Respond(std::move(read.error()));
  auto zip = TakeZip(*json, service.limits.archive);
  if (!zip) return exchange->Respond(std::move(zip.error()));
  if (dry_run) return GetFunctionConfiguration(service, exchange, match);
  v1::UpdateRequest request;
  request.set_name(target->name);
  request.set_archive_attached(true);
  request.set_keep_environment(true);
  std::vector<client::Fd> fds;
  fds.push_back(std::move(*zip));
  Update(service, exchange, request, std::move(fds));
}

void UpdateFunctionConfiguration(Service& service, const ExchangePtr& exchange,
                                 const RouteMatch& match) {
  const auto target = ReadTarget(exchange->request, match);
  if (!target) return exchange->Respond(target.error());
  auto json = ParseBody(exchange->request);
  if (!json) return exchange->Respond(std::move(json.error()));
  v1::UpdateRequest request;
  request.set_name(target->name);
  bool environment = false;
  if (auto read = ReadSettings(*json, request.mutable_settings(), &environment); !read)
    return exchange->Respond(std::move(read.error()));
  request.set_keep_environment(!environment);
  Update(service, exchange, request, {});
}

void GetFunction(Service& service, const ExchangePtr& exchange, const RouteMatch& match) {
  const auto target = ReadTarget(exchange->request, match);
  if (!target) return exchange->Respond(target.error());
  v1::GetFunctionRequest request;
  request.set_name(target->name);
  service.spored.Ask<v1::Function>(
      kFunctions, "Get", request,
      [exchange, name = target->name](client::Result<v1::Function> function) {
        if (!function) return exchange->Respond(ErrorOf(function.error(), name));
        exchange->Respond(
            JsonResponse(200, Dump({{"Configuration", Configuration(*function)},
                                    {"Code", CodeLocation()},
                                    {"Tags", Json::object()},
                                    {"Concurrency",
                                     {{"ReservedConcurrentExecutions",
                                       function->settings().limits().max_instances()}}}})));
      });
}

void GetFunctionConfiguration(Service& service, const ExchangePtr& exchange,
                              const RouteMatch& match) {
  const auto target = ReadTarget(exchange->request, match);
  if (!target) return exchange->Respond(target.error());
  v1::GetFunctionRequest request;
  request.set_name(target->name);
  service.spored.Ask<v1::Function>(
      kFunctions, "Get", request,
      [exchange, name = target->name](client::Result<v1::Function> function) {
        exchange->Respond(function ? ConfigurationResponse(200, *function)
                                   : ErrorOf(function.error(), name));
      });
}

void ListFunctions(Service& service, const ExchangePtr& exchange, const RouteMatch&) {
  const std::string asked = QueryValue(exchange->request, "MaxItems");
  const auto most =
      asked.empty() ? std::optional<std::size_t>(kPage) : ParseNumber<std::size_t>(asked);
  if (!most || *most < 1 || *most > 10000)
    return exchange->Respond(InvalidParameter("MaxItems: \"" + asked + "\"; expected 1 to 10000"));
  const std::string marker = QueryValue(exchange->request, "Marker");
  const auto after = FromBase64(marker);
  if (!after)
    return exchange->Respond(InvalidParameter("Marker: not one that NextMarker has given"));
  service.spored.Ask<v1::ListFunctionsResponse>(
      kFunctions, "List", v1::ListFunctionsRequest(),
      [exchange, after = *after,
       page = std::min(*most, kPage)](client::Result<v1::ListFunctionsResponse> response) {
        if (!response) return exchange->Respond(ErrorOf(response.error(), {}));
        std::vector<const v1::Function*> functions;
        for (const v1::Function& function : response->functions()) {
          if (function.name() > after) functions.push_back(&function);
        }
        std::sort(functions.begin(), functions.end(),
                  [](const auto* a, const auto* b) { return a->name() < b->name(); });
        exchange->Respond(JsonResponse(200, Dump(Listing(functions, page))));
      });
}

void DeleteFunction(Service& service, const ExchangePtr& exchange, const RouteMatch& match) {
  const auto target = ReadTarget(exchange->request, match);
  if (!target) return exchange->Respond(target.error());
  v1::RemoveFunctionRequest request;
  request.set_name(target->name);
  service.spored.Ask<v1::RemoveFunctionResponse>(
      kFunctions, "Remove", request,
      [exchange, name = target->name](client::Result<v1::RemoveFunctionResponse> removed) {
        exchange->Respond(removed ? JsonResponse(204, {}) : ErrorOf(removed.error(), name));
      });
}

}  // namespace spore::gateway
