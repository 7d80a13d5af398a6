// spore function deploy and update.
#include <fmt/format.h>

#include <memory>

#include "tools/client/pack.h"
#include "tools/spore/context.h"
#include "tools/spore/output.h"
#include "tools/spore/settings.h"
#include "tools/spore/units.h"

namespace spore::cli {
namespace {

struct Arguments {
  std::string name;
  std::string path;
  v1::FunctionSettings settings;
  bool clear_environment = false;
  bool quiet = false;
};

void Report(const Context& context, const v1::Function& function, bool quiet,
            std::string_view verb) {
  if (context.json) {
    PrintJson(ToJson(function));
  } else if (quiet) {
    fmt::print("{}\n", function.name());
  } else {
    fmt::print("{} {}: update {}, image {}, {} of code\n", verb, function.name(),
               function.version(), function.settings().image(), HumanBytes(function.code_bytes()));
  }
}

Outcome Deploy(const Context& context, const Arguments& arguments) {
  auto code = client::PackCode(arguments.path);
  if (!code) return Fail(kUsage, code.error().message);
  v1::DeployRequest request;
  request.set_name(arguments.name);
  *request.mutable_settings() = arguments.settings;
  auto function =
      CallDaemon<v1::Function>(context, "spore.v1.Functions", "Deploy", request, {code->get()});
  if (!function) return tl::unexpected(function.error());
  Report(context, *function, arguments.quiet, "deployed");
  return kDone;
}

Outcome Update(const Context& context, const Arguments& arguments) {
  v1::UpdateRequest request;
  request.set_name(arguments.name);
  *request.mutable_settings() = arguments.settings;
  request.set_keep_environment(arguments.settings.environment().empty() &&
                               !arguments.clear_environment);
  client::Fd code;
  std::vector<int> fds;
  if (!arguments.path.empty()) {
    auto packed = client::PackCode(arguments.path);
    if (!packed) return Fail(kUsage, packed.error().message);
    code = std::move(*packed);
    fds.push_back(code.get());
    request.set_archive_attached(true);
  }
  auto function = CallDaemon<v1::Function>(context, "spore.v1.Functions", "Update", request, fds);
  if (!function) return tl::unexpected(function.error());
  Report(context, *function, arguments.quiet, "updated");
  return kDone;
}

}  // namespace

void AddFunctionDeploy(CLI::App& function, Context& context) {
  constexpr const char* kPathHelp =
      "Directory, zip, jar or tar file, or a single .py, .js, .cjs, .mjs or .so file";
  CLI::App* deploy = AddCommand(function, context, "deploy", "Make a new function");
  auto made = std::make_shared<Arguments>();
  deploy->add_option("NAME", made->name, "Name of the function")->required();
  deploy->add_option("PATH", made->path, kPathHelp)->required();
  deploy->add_flag("-q,--quiet", made->quiet, "Print the name only");
  AddSettingsOptions(*deploy, made->settings);
  deploy->get_option("--runtime")->required();
  deploy->callback([&context, made] {
    // Lambda's custom runtimes make of it what they like, or nothing.
    if (made->settings.handler().empty() && made->settings.runtime() != "provided")
      throw CLI::RequiredError("--handler");
    context.command = [&context, made] { return Deploy(context, *made); };
  });

  CLI::App* update =
      AddCommand(function, context, "update", "Change a function's code, settings, or both");
  auto changed = std::make_shared<Arguments>();
  update->add_option("NAME", changed->name, "Name of the function")->required();
  update->add_option("PATH", changed->path, std::string(kPathHelp) + " (default: keep the code)");
  update->add_flag("-q,--quiet", changed->quiet, "Print the name only");
  AddSettingsOptions(*update, changed->settings);
  update->add_flag("--clear-env", changed->clear_environment, "Remove all environment variables")
      ->excludes("--env");
  update->callback([&context, changed, update] {
    // Bare "update NAME" would make a version that differs in nothing.
    if (update->parse_order().size() < 2) {
      throw CLI::RequiredError("PATH or a setting to change");
    }
    context.command = [&context, changed] { return Update(context, *changed); };
  });
}

}  // namespace spore::cli
