#include "tools/gateway/lambda_functions.h"

#include <utility>

#include "spore/v1/versions.pb.h"
#include "tools/client/memfd.h"
#include "tools/gateway/encoding.h"
#include "tools/gateway/lambda_call.h"
#include "tools/gateway/lambda_settings.h"
#include "tools/gateway/lambda_tags.h"
#include "tools/gateway/lambda_target.h"
#include "tools/gateway/lambda_versions.h"
#include "tools/gateway/text.h"

namespace spore::gateway {
namespace {

using Json = nlohmann::json;
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

// What CreateFunction asks for, all of it checked as far as it can be here.
struct Creation {
  v1::DeployRequest deploy;
  v1::TagRequest tags;
  bool publish = false;
  client::Fd archive;
};

Checked<std::string> ReadNewName(const Json& json) {
  std::string name;
  if (auto read = ReadString(json, "FunctionName", &name); !read)
    return tl::unexpected(read.error());
  auto parsed = ParseFunctionName(name);
  if (parsed && parsed->qualifier.empty()) return std::move(parsed->name);
  return tl::unexpected(InvalidParameter("FunctionName: \"" + name.substr(0, 80) +
                                         "\" is no function's name or ARN"));
}

Checked<> ReadNewSettings(const Json& json, v1::FunctionSettings* settings) {
  bool environment = false;
  if (auto read = ReadSettings(json, settings, &environment); !read) return read;
  if (settings->runtime().empty())
    return tl::unexpected(InvalidParameter("Runtime: missing; expected python3.11 or the like"));
  if (settings->handler().empty())
    return tl::unexpected(InvalidParameter("Handler: missing; expected MODULE.FUNCTION"));
  if (settings->limits().timeout_ms() == 0)
    settings->mutable_limits()->set_timeout_ms(kDefaultTimeoutMs);
  return {};
}

Checked<Creation> ReadCreation(const Json& json, std::size_t limit) {
  Creation creation;
  auto name = ReadNewName(json);
  if (!name) return tl::unexpected(name.error());
  creation.deploy.set_name(*name);
  creation.tags.set_name(*name);
  if (auto read = ReadNewSettings(json, creation.deploy.mutable_settings()); !read)
    return tl::unexpected(read.error());
  if (auto read = ReadTags(json, &creation.tags); !read) return tl::unexpected(read.error());
  if (auto read = ReadBool(json, "Publish", &creation.publish); !read)
    return tl::unexpected(read.error());
  const auto code = json.find("Code");
  if (code == json.end() || !code->is_object())
    return tl::unexpected(InvalidParameter("Code: missing; expected {\"ZipFile\": BASE64}"));
  auto zip = TakeZip(*code, limit);
  if (!zip) return tl::unexpected(zip.error());
  creation.archive = std::move(*zip);
  return creation;
}

void PublishAfter(Service& service, const ExchangePtr& exchange, const std::string& name,
                  int status) {
  v1::PublishVersionRequest request;
  request.set_name(name);
  Publish(service, exchange, request, status);
}

// A function that was made, but not as it was asked for, goes again.
void Undo(Service& service, const ExchangePtr& exchange, const std::string& name,
          const client::Error& error) {
  v1::RemoveFunctionRequest request;
  request.set_name(name);
  service.spored.Ask<v1::RemoveFunctionResponse>(
      kFunctions, "Remove", request,
      [exchange, name, error](const client::Result<v1::RemoveFunctionResponse>&) {
        exchange->Respond(ErrorOf(error, name));
      });
}

void Update(Service& service, const ExchangePtr& exchange, const v1::UpdateRequest& request,
            std::vector<client::Fd> fds, bool publish) {
  const std::string name = request.name();
  service.spored.Call<v1::Function>(
      kFunctions, "Update", request, std::move(fds),
      [&service, exchange, name, publish](client::Result<v1::Function> function, FdQueue&) {
        if (!function) return exchange->Respond(ErrorOf(function.error(), name));
        if (publish) return PublishAfter(service, exchange, name, 200);
        exchange->Respond(ConfigurationResponse(200, *function));
      });
}

HttpResponse Whole(const v1::Function& function, const std::string& qualifier) {
  Json json = {{"Configuration", Configuration(function, qualifier)},
               {"Code", CodeLocation()},
               {"Tags", TagsOf(function)}};
  if (function.has_concurrency())
    json["Concurrency"] = {{"ReservedConcurrentExecutions", function.concurrency()}};
  return JsonResponse(200, Dump(json));
}

void Get(Service& service, const ExchangePtr& exchange, const RouteMatch& match,
         HttpResponse (*answer)(const v1::Function&, const std::string&)) {
  const auto target = ReadTarget(exchange->request, match);
  if (!target) return exchange->Respond(target.error());
  v1::GetFunctionRequest request;
  request.set_name(target->name);
  request.set_qualifier(target->qualifier);
  Relay<v1::Function>(service, exchange, kFunctions, "Get", request, Qualified(*target),
                      [qualifier = target->qualifier, answer](const v1::Function& function) {
                        return answer(function, qualifier);
                      });
}

void RemoveVersion(Service& service, const ExchangePtr& exchange, const FunctionName& target) {
  const auto number = ParseNumber<uint64_t>(target.qualifier);
  if (!number || *number == 0) {
    return exchange->Respond(
        InvalidParameter("Qualifier: \"" + target.qualifier.substr(0, 80) +
                         "\"; only a published version's number can be deleted, or all without"));
  }
  v1::RemoveVersionRequest request;
  request.set_name(target.name);
  request.set_number(*number);
  Relay<v1::RemoveVersionResponse>(
      service, exchange, kVersions, "Remove", request, Qualified(target),
      [](const v1::RemoveVersionResponse&) { return JsonResponse(204, {}); });
}

}  // namespace

void CreateFunction(Service& service, const ExchangePtr& exchange, const RouteMatch&) {
  auto json = ParseBody(exchange->request);
  std::string().swap(exchange->request.body);
  if (!json) return exchange->Respond(std::move(json.error()));
  auto creation = ReadCreation(*json, service.limits.archive);
  if (!creation) return exchange->Respond(std::move(creation.error()));
  std::vector<client::Fd> fds;
  fds.push_back(std::move(creation->archive));
  service.spored.Call<v1::Function>(
      kFunctions, "Deploy", creation->deploy, std::move(fds),
      [&service, exchange, tags = std::move(creation->tags), publish = creation->publish](
          client::Result<v1::Function> function, FdQueue&) {
        const std::string& name = tags.name();
        if (!function) return exchange->Respond(ErrorOf(function.error(), name));
        if (tags.set().empty() && publish) return PublishAfter(service, exchange, name, 201);
        if (tags.set().empty()) return exchange->Respond(ConfigurationResponse(201, *function));
        service.spored.Ask<v1::TagResponse>(
            kVersions, "Tag", tags,
            [&service, exchange, name, publish,
             function = std::move(*function)](client::Result<v1::TagResponse> tagged) {
              if (!tagged) return Undo(service, exchange, name, tagged.error());
              if (publish) return PublishAfter(service, exchange, name, 201);
              exchange->Respond(ConfigurationResponse(201, function));
            });
      });
}

void UpdateFunctionCode(Service& service, const ExchangePtr& exchange, const RouteMatch& match) {
  const auto target = ReadWorkingCopy(exchange->request, match);
  if (!target) return exchange->Respond(target.error());
  auto json = ParseBody(exchange->request);
  std::string().swap(exchange->request.body);
  if (!json) return exchange->Respond(std::move(json.error()));
  v1::UpdateRequest request;
  bool publish = false, dry_run = false;
  if (auto read = ReadBool(*json, "Publish", &publish); !read)
    return exchange->Respond(std::move(read.error()));
  if (auto read = ReadBool(*json, "DryRun", &dry_run); !read)
    return exchange->Respond(std::move(read.error()));
  if (auto read = ReadString(*json, "RevisionId", request.mutable_revision_id()); !read)
    return exchange->Respond(std::move(read.error()));
  auto zip = TakeZip(*json, service.limits.archive);
  if (!zip) return exchange->Respond(std::move(zip.error()));
  if (dry_run) return GetFunctionConfiguration(service, exchange, match);
  request.set_name(target->name);
  request.set_archive_attached(true);
  request.set_keep_environment(true);
  std::vector<client::Fd> fds;
  fds.push_back(std::move(*zip));
  Update(service, exchange, request, std::move(fds), publish);
}

void UpdateFunctionConfiguration(Service& service, const ExchangePtr& exchange,
                                 const RouteMatch& match) {
  const auto target = ReadWorkingCopy(exchange->request, match);
  if (!target) return exchange->Respond(target.error());
  auto json = ParseBody(exchange->request);
  if (!json) return exchange->Respond(std::move(json.error()));
  v1::UpdateRequest request;
  request.set_name(target->name);
  bool environment = false;
  if (auto read = ReadSettings(*json, request.mutable_settings(), &environment); !read)
    return exchange->Respond(std::move(read.error()));
  if (auto read = ReadString(*json, "RevisionId", request.mutable_revision_id()); !read)
    return exchange->Respond(std::move(read.error()));
  request.set_keep_environment(!environment);
  Update(service, exchange, request, {}, false);
}

void GetFunction(Service& service, const ExchangePtr& exchange, const RouteMatch& match) {
  Get(service, exchange, match, Whole);
}

void GetFunctionConfiguration(Service& service, const ExchangePtr& exchange,
                              const RouteMatch& match) {
  Get(service, exchange, match, [](const v1::Function& function, const std::string& qualifier) {
    return ConfigurationResponse(200, function, qualifier);
  });
}

void ListFunctions(Service& service, const ExchangePtr& exchange, const RouteMatch&) {
  const auto most = ReadMaxItems(exchange->request);
  if (!most) return exchange->Respond(most.error());
  auto marker = FromBase64(QueryValue(exchange->request, "Marker"));
  if (!marker || !IsUtf8(*marker))
    return exchange->Respond(InvalidParameter("Marker: not one that NextMarker has given"));
  if (!QueryValue(exchange->request, "FunctionVersion").empty())
    return exchange->Respond(
        NotSupported("FunctionVersion is not supported; list the versions of each function"));
  v1::ListFunctionsRequest request;
  request.set_marker(std::move(*marker));
  request.set_limit(*most);
  Relay<v1::ListFunctionsResponse>(service, exchange, kFunctions, "List", request, {},
                                   [](const v1::ListFunctionsResponse& response) {
                                     Json json = {{"Functions", Json::array()}};
                                     for (const v1::Function& function : response.functions())
                                       json["Functions"].push_back(Configuration(function));
                                     if (!response.next_marker().empty())
                                       json["NextMarker"] = Base64(response.next_marker());
                                     return JsonResponse(200, Dump(json));
                                   });
}

void DeleteFunction(Service& service, const ExchangePtr& exchange, const RouteMatch& match) {
  const auto target = ReadTarget(exchange->request, match);
  if (!target) return exchange->Respond(target.error());
  if (!target->qualifier.empty()) return RemoveVersion(service, exchange, *target);
  v1::RemoveFunctionRequest request;
  request.set_name(target->name);
  Relay<v1::RemoveFunctionResponse>(
      service, exchange, kFunctions, "Remove", request, target->name,
      [](const v1::RemoveFunctionResponse&) { return JsonResponse(204, {}); });
}

}  // namespace spore::gateway
