// spore function publish, versions, alias, tag, untag, concurrency and provision.
#include <fmt/format.h>

#include <memory>

#include "spore/v1/versions.pb.h"
#include "tools/spore/context.h"
#include "tools/spore/output.h"
#include "tools/spore/qualifier.h"
#include "tools/spore/units.h"

namespace spore::cli {
namespace {

constexpr const char* kService = "spore.v1.Versions";

struct PublishArguments {
  std::string name;
  std::string description;
  bool described = false;
  bool quiet = false;
};

Outcome Publish(const Context& context, const PublishArguments& arguments) {
  v1::PublishVersionRequest request;
  request.set_name(arguments.name);
  if (arguments.described) request.set_description(arguments.description);
  auto done = CallDaemon<v1::PublishVersionResponse>(context, kService, "Publish", request);
  if (!done) return tl::unexpected(done.error());
  if (context.json) {
    PrintJson(ToJson(*done));
  } else if (arguments.quiet) {
    fmt::print("{}\n", done->version().number());
  } else {
    fmt::print("{} {}:{}\n", done->unchanged() ? "unchanged since" : "published", arguments.name,
               done->version().number());
  }
  return kDone;
}

Outcome ListVersions(const Context& context, const std::string& name) {
  v1::ListVersionsRequest request;
  request.set_name(name);
  v1::ListVersionsResponse all;
  do {
    auto response = CallDaemon<v1::ListVersionsResponse>(context, kService, "List", request);
    if (!response) return tl::unexpected(response.error());
    request.set_marker(response->next_marker());
    all.mutable_versions()->MergeFrom(response->versions());
  } while (request.marker() != 0);
  if (context.json) {
    PrintJsonList(all.versions());
    return kDone;
  }
  Table table({{"VERSION", Align::kRight},
               {"IMAGE"},
               {"HANDLER"},
               {"CODE", Align::kRight},
               {"KEPT READY", Align::kRight},
               {"PUBLISHED", Align::kRight},
               {"DESCRIPTION"}});
  for (const v1::PublishedVersion& version : all.versions()) {
    const v1::Function& function = version.function();
    table.Add({fmt::format("{}", version.number()),
               version.has_function() ? function.settings().image() : "(damaged)",
               function.settings().handler(), HumanBytes(function.code_bytes()),
               fmt::format("{}", version.min_instances()), HumanAge(version.published_unix_ms()),
               version.description()});
  }
  table.Print();
  return kDone;
}

std::string RoutesOf(const v1::Alias& alias) {
  if (alias.second_version() == 0) return fmt::format("{}", alias.version());
  return fmt::format("{}, {}={:g}", alias.version(), alias.second_version(), alias.second_weight());
}

Outcome SetAlias(const Context& context, const v1::SetAliasRequest& request, bool quiet) {
  auto alias = CallDaemon<v1::Alias>(context, kService, "SetAlias", request);
  if (!alias) return tl::unexpected(alias.error());
  if (context.json) {
    PrintJson(ToJson(*alias));
  } else if (quiet) {
    fmt::print("{}\n", alias->name());
  } else {
    fmt::print("{}:{} is version {}\n", request.name(), alias->name(), RoutesOf(*alias));
  }
  return kDone;
}

Outcome ListAliases(const Context& context, const std::string& name) {
  v1::ListAliasesRequest request;
  request.set_name(name);
  auto response = CallDaemon<v1::ListAliasesResponse>(context, kService, "ListAliases", request);
  if (!response) return tl::unexpected(response.error());
  if (context.json) {
    PrintJsonList(response->aliases());
    return kDone;
  }
  Table table({{"ALIAS"}, {"VERSION"}, {"KEPT READY", Align::kRight}, {"DESCRIPTION"}});
  for (const v1::Alias& alias : response->aliases()) {
    table.Add({alias.name(), RoutesOf(alias), fmt::format("{}", alias.min_instances()),
               alias.description()});
  }
  table.Print();
  return kDone;
}

Outcome Tag(const Context& context, const v1::TagRequest& request) {
  auto response = CallDaemon<v1::TagResponse>(context, kService, "Tag", request);
  if (!response) return tl::unexpected(response.error());
  if (context.json) {
    PrintJson(ToJson(*response));
    return kDone;
  }
  std::map<std::string, std::string> sorted(response->tags().begin(), response->tags().end());
  for (const auto& [key, value] : sorted)
    fmt::print("{}\n", ForTerminal(key + "=" + value, STDOUT_FILENO));
  return kDone;
}

// One call whose answer is empty.
template <typename Response, typename Request>
Outcome Do(const Context& context, const char* method, const Request& request) {
  auto response = CallDaemon<Response>(context, kService, method, request);
  if (!response) return tl::unexpected(response.error());
  if (context.json) PrintJson(ToJson(*response));
  return kDone;
}

// "4=0.1"
void ParseCanary(const std::string& text, v1::Alias& alias) {
  const std::size_t equals = text.find('=');
  uint64_t version = 0;
  double weight = 0;
  const bool good = equals != std::string::npos &&
                    CLI::detail::lexical_cast(text.substr(0, equals), version) && version > 0 &&
                    CLI::detail::lexical_cast(text.substr(equals + 1), weight) && weight >= 0 &&
                    weight <= 1;
  if (!good) {
    throw CLI::ValidationError("--canary", "'" + text +
                                               "' is not of the form VERSION=WEIGHT, the weight "
                                               "from 0 to 1, such as 4=0.1");
  }
  alias.set_second_version(version);
  alias.set_second_weight(weight);
}

void AddPublish(CLI::App& function, Context& context) {
  CLI::App* publish = AddCommand(function, context, "publish",
                                 "Freeze code and settings as the next numbered version");
  auto arguments = std::make_shared<PublishArguments>();
  publish->add_option("NAME", arguments->name, "Function")->required();
  publish->add_option("--description", arguments->description, "Up to 256 characters");
  publish->add_flag("-q,--quiet", arguments->quiet, "Print the number only");
  publish->callback([&context, arguments, publish] {
    arguments->described = publish->count("--description") > 0;
    context.command = [&context, arguments] { return Publish(context, *arguments); };
  });

  CLI::App* versions =
      AddCommand(function, context, "versions", "List the published versions of a function");
  auto name = std::make_shared<std::string>();
  versions->add_option("NAME", *name, "Function")->required();
  versions->callback([&context, name] {
    context.command = [&context, name] { return ListVersions(context, *name); };
  });
}

void AddAlias(CLI::App& function, Context& context) {
  CLI::App* alias = function.add_subcommand("alias", "Names for published versions");
  alias->require_subcommand(1);

  CLI::App* set = AddCommand(*alias, context, "set", "Make or change an alias");
  auto request = std::make_shared<v1::SetAliasRequest>();
  auto version = std::make_shared<uint64_t>(0);
  auto quiet = std::make_shared<bool>(false);
  set->add_option("NAME", *request->mutable_name(), "Function")->required();
  set->add_option("ALIAS", *request->mutable_alias()->mutable_name(), "The alias")->required();
  set->add_option("VERSION", *version, "Number of the published version it names")->required();
  set->add_option_function<std::string>(
         "--canary",
         [request](const std::string& text) { ParseCanary(text, *request->mutable_alias()); },
         "A second version, and the share of the invocations that goes to it")
      ->type_name("VERSION=WEIGHT");
  set->add_option("--description", *request->mutable_alias()->mutable_description(),
                  "Up to 256 characters");
  set->add_flag("-q,--quiet", *quiet, "Print the alias only");
  set->callback([&context, request, version, quiet] {
    request->mutable_alias()->set_version(*version);
    context.command = [&context, request, quiet] { return SetAlias(context, *request, *quiet); };
  });

  CLI::App* list = AddCommand(*alias, context, "ls", "List the aliases of a function");
  auto name = std::make_shared<std::string>();
  list->add_option("NAME", *name, "Function")->required();
  list->callback([&context, name] {
    context.command = [&context, name] { return ListAliases(context, *name); };
  });

  CLI::App* remove = AddCommand(*alias, context, "rm", "Remove an alias");
  auto removal = std::make_shared<v1::RemoveAliasRequest>();
  remove->add_option("NAME", *removal->mutable_name(), "Function")->required();
  remove->add_option("ALIAS", *removal->mutable_alias(), "The alias")->required();
  remove->callback([&context, removal] {
    context.command = [&context, removal] {
      return Do<v1::RemoveAliasResponse>(context, "RemoveAlias", *removal);
    };
  });
}

void AddTags(CLI::App& function, Context& context) {
  CLI::App* tag = AddCommand(function, context, "tag", "Add or replace tags of a function");
  auto request = std::make_shared<v1::TagRequest>();
  auto pairs = std::make_shared<std::vector<std::string>>();
  tag->add_option("NAME", *request->mutable_name(), "Function")->required();
  tag->add_option("TAG", *pairs, "Tags; none: list them")->type_name("KEY=VALUE");
  tag->callback([&context, request, pairs] {
    for (const std::string& pair : *pairs) {
      const std::size_t equals = pair.find('=');
      if (equals == 0 || equals == std::string::npos)
        throw CLI::ValidationError("TAG", "'" + pair + "' is not of the form KEY=VALUE");
      (*request->mutable_set())[pair.substr(0, equals)] = pair.substr(equals + 1);
    }
    context.command = [&context, request] { return Tag(context, *request); };
  });

  CLI::App* untag = AddCommand(function, context, "untag", "Remove tags of a function");
  auto removal = std::make_shared<v1::TagRequest>();
  auto keys = std::make_shared<std::vector<std::string>>();
  untag->add_option("NAME", *removal->mutable_name(), "Function")->required();
  untag->add_option("KEY", *keys, "Keys of the tags")->required();
  untag->callback([&context, removal, keys] {
    for (const std::string& key : *keys) removal->add_remove(key);
    context.command = [&context, removal] { return Tag(context, *removal); };
  });
}

void AddConcurrency(CLI::App& function, Context& context) {
  CLI::App* concurrency = AddCommand(function, context, "concurrency",
                                     "Limit the instances of all versions of a function together");
  auto request = std::make_shared<v1::SetConcurrencyRequest>();
  auto clear = std::make_shared<bool>(false);
  concurrency->add_option("NAME", *request->mutable_name(), "Function")->required();
  CLI::Option* number = concurrency->add_option_function<uint32_t>(
      "N", [request](uint32_t n) { request->set_concurrency(n); },
      "Instances at once; 0: it is not to run");
  number->type_name("N");
  concurrency->add_flag("--clear", *clear, "Back to its --max-instances")->excludes(number);
  concurrency->callback([&context, request, clear] {
    if (*clear == request->has_concurrency()) throw CLI::RequiredError("N or --clear");
    context.command = [&context, request] {
      return Do<v1::SetConcurrencyResponse>(context, "SetConcurrency", *request);
    };
  });

  CLI::App* provision = AddCommand(function, context, "provision",
                                   "Keep instances of a published version or alias ready");
  auto provisioned = std::make_shared<v1::ProvisionRequest>();
  auto name = std::make_shared<std::string>();
  auto count = std::make_shared<uint32_t>(0);
  provision->add_option("NAME", *name, "Function and number or alias, NAME:QUALIFIER")->required();
  provision->add_option("N", *count, "Instances; 0: none")->required();
  provision->callback([&context, provisioned, name, count] {
    const Qualified target = SplitQualifier(*name);
    provisioned->set_name(target.name);
    provisioned->set_qualifier(target.qualifier);
    provisioned->set_instances(*count);
    context.command = [&context, provisioned] {
      return Do<v1::ProvisionResponse>(context, "Provision", *provisioned);
    };
  });
}

}  // namespace

void AddFunctionVersions(CLI::App& function, Context& context) {
  AddPublish(function, context);
  AddAlias(function, context);
  AddTags(function, context);
  AddConcurrency(function, context);
}

}  // namespace spore::cli
