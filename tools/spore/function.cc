// spore function ls, show and rm.
#include <fmt/format.h>

#include <charconv>
#include <map>
#include <memory>

#include "spore/v1/versions.pb.h"
#include "tools/spore/context.h"
#include "tools/spore/output.h"
#include "tools/spore/qualifier.h"
#include "tools/spore/units.h"

namespace spore::cli {
namespace {

constexpr const char* kService = "spore.v1.Functions";

Outcome List(const Context& context, bool quiet) {
  v1::ListFunctionsRequest request;
  v1::ListFunctionsResponse all;
  do {
    auto response = CallDaemon<v1::ListFunctionsResponse>(context, kService, "List", request);
    if (!response) return tl::unexpected(response.error());
    request.set_marker(response->next_marker());
    all.mutable_functions()->MergeFrom(response->functions());
  } while (!request.marker().empty());
  if (quiet) {
    for (const v1::Function& function : all.functions()) fmt::print("{}\n", function.name());
    return kDone;
  }
  if (context.json) {
    PrintJsonList(all.functions());
    return kDone;
  }
  Table table({{"NAME"},
               {"UPDATE", Align::kRight},
               {"RUNTIME"},
               {"IMAGE"},
               {"HANDLER"},
               {"ISOLATION"},
               {"MEMORY", Align::kRight},
               {"TIMEOUT", Align::kRight},
               {"CODE", Align::kRight},
               {"INSTANCES", Align::kRight},
               {"UPDATED", Align::kRight}});
  for (const v1::Function& function : all.functions()) {
    const v1::FunctionSettings& settings = function.settings();
    table.Add({function.name(), fmt::format("{}", function.version()), settings.runtime(),
               settings.image(), settings.handler(), IsolationName(settings.isolation()),
               HumanBytes(settings.limits().memory_bytes()),
               HumanMicroseconds(settings.limits().timeout_ms() * 1000),
               HumanBytes(function.code_bytes()), fmt::format("{}", function.instances()),
               HumanAge(function.updated_unix_ms())});
  }
  table.Print();
  return kDone;
}

Outcome Show(const Context& context, const std::string& name) {
  v1::GetFunctionRequest request;
  const Qualified target = SplitQualifier(name);
  request.set_name(target.name);
  request.set_qualifier(target.qualifier);
  auto response = CallDaemon<v1::Function>(context, kService, "Get", request);
  if (!response) return tl::unexpected(response.error());
  if (context.json) {
    PrintJson(ToJson(*response));
    return kDone;
  }
  const v1::FunctionSettings& settings = response->settings();
  const v1::Limits& limits = settings.limits();
  std::vector<std::pair<std::string, std::string>> pairs{
      {"Name", response->name()},
      {"Version", response->published_version() == 0
                      ? "$LATEST"
                      : fmt::format("{}", response->published_version())},
      {"Description", settings.description()},
      {"Update", fmt::format("{}", response->version())},
      {"Runtime", settings.runtime()},
      {"Image", settings.image()},
      {"Image digest", response->image_digest()},
      {"Libraries", settings.libraries()},
      {"Handler", settings.handler()},
      {"Isolation", IsolationName(settings.isolation())},
      {"Instances",
       fmt::format("{} of at most {}", response->instances(),
                   response->has_concurrency() ? response->concurrency() : limits.max_instances())},
      {"Kept ready", fmt::format("{}", settings.min_instances())},
      {"Owner", fmt::format("uid {}", response->owner_uid())},
      {"Created", HumanTime(response->created_unix_ms())},
      {"Updated", HumanTime(response->updated_unix_ms())},
      {"Code", HumanBytes(response->code_bytes())},
      {"Digest", response->code_digest()},
      {"Revision", response->revision_id()},
  };
  for (auto& pair : LimitPairs(limits)) pairs.push_back(std::move(pair));
  pairs.emplace_back("Idle timeout", HumanMicroseconds(limits.idle_ms() * 1000));
  pairs.emplace_back("Payload limit", HumanBytes(limits.payload_bytes()));
  pairs.emplace_back("Response limit", HumanBytes(limits.response_bytes()));
  pairs.emplace_back("Output limit", HumanBytes(limits.output_bytes()));
  for (const auto& [key, value] : settings.environment()) {
    pairs.emplace_back("Environment", key + "=" + value);
  }
  const std::map<std::string, std::string> tags(response->tags().begin(), response->tags().end());
  for (const auto& [key, value] : tags) pairs.emplace_back("Tag", key + "=" + value);
  PrintPairs(pairs);
  return kDone;
}

// NAME:NUMBER
client::Result<> RemoveVersion(client::Connection& connection, const std::string& name) {
  const Qualified target = SplitQualifier(name);
  v1::RemoveVersionRequest request;
  request.set_name(target.name);
  uint64_t number = 0;
  const char* end = target.qualifier.data() + target.qualifier.size();
  const auto parsed = std::from_chars(target.qualifier.data(), end, number);
  if (parsed.ec != std::errc() || parsed.ptr != end || number == 0) {
    return tl::unexpected(client::Error{
        .kind = client::ErrorKind::kLocal,
        .message = name + ": expected NAME or NAME:NUMBER; an alias is removed by alias rm"});
  }
  request.set_number(number);
  auto removed = connection.Call<v1::RemoveVersionResponse>("spore.v1.Versions", "Remove", request);
  if (!removed) return tl::unexpected(removed.error());
  fmt::print("{}\n", name);
  return {};
}

Outcome Remove(const Context& context, const std::vector<std::string>& names) {
  return CallForEach(
      context, names, [](client::Connection& connection, const auto& name) -> client::Result<> {
        if (name.find(':') != name.npos) return RemoveVersion(connection, name);
        v1::RemoveFunctionRequest request;
        request.set_name(name);
        auto removed = connection.Call<v1::RemoveFunctionResponse>(kService, "Remove", request);
        if (!removed) return tl::unexpected(removed.error());
        fmt::print("{}\n", name);
        return {};
      });
}

}  // namespace

void AddFunction(CLI::App& app, Context& context) {
  CLI::App* function = app.add_subcommand("function", "Deploy, list, change and remove functions");
  function->require_subcommand(1);
  AddFunctionDeploy(*function, context);
  AddFunctionVersions(*function, context);

  CLI::App* list = AddCommand(*function, context, "ls", "List functions");
  auto quiet = std::make_shared<bool>(false);
  list->add_flag("-q,--quiet", *quiet, "Print names only");
  list->callback(
      [&context, quiet] { context.command = [&context, quiet] { return List(context, *quiet); }; });

  CLI::App* show = AddCommand(*function, context, "show", "Show one function");
  auto name = std::make_shared<std::string>();
  show->add_option("NAME", *name, "Function, or NAME:QUALIFIER")->required();
  show->callback(
      [&context, name] { context.command = [&context, name] { return Show(context, *name); }; });

  CLI::App* remove =
      AddCommand(*function, context, "rm",
                 "Remove functions, with their versions and logs, or published versions");
  auto names = std::make_shared<std::vector<std::string>>();
  remove->add_option("NAME", *names, "Functions, or NAME:NUMBER for one version")->required();
  remove->callback([&context, names] {
    context.command = [&context, names] { return Remove(context, *names); };
  });
}

}  // namespace spore::cli
