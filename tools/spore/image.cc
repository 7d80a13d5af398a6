// spore image ls and show; the others are in image_import.cc and image_build.cc.
#include <fmt/format.h>

#include <map>
#include <memory>
#include <set>

#include "tools/spore/context.h"
#include "tools/spore/image.h"
#include "tools/spore/output.h"
#include "tools/spore/units.h"

namespace spore::cli {
namespace {

constexpr const char* kService = "spore.v1.Images";

std::string RuntimeOf(const v1::Image& image) {
  return image.runtime_version().empty() ? image.runtime()
                                         : image.runtime() + " " + image.runtime_version();
}

std::string Joined(const google::protobuf::RepeatedPtrField<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : " ") + word;
  return text;
}

std::string RootOf(const v1::Image& image) {
  if (image.version() == 0) return "the host's /usr";
  return fmt::format("{}, {} in {} files and folders", image.root(), HumanBytes(image.root_bytes()),
                     image.root_files());
}

Outcome List(const Context& context, bool quiet) {
  auto response =
      CallDaemon<v1::ListImagesResponse>(context, kService, "List", v1::ListImagesRequest());
  if (!response) return tl::unexpected(response.error());
  if (quiet) {
    for (const v1::Image& image : response->images()) fmt::print("{}\n", image.name());
    return kDone;
  }
  if (context.json) {
    PrintJsonList(response->images());
    return kDone;
  }
  Table table({{"NAME"},
               {"RUNTIME"},
               {"STATE"},
               {"PRELOADED", Align::kRight},
               {"FORKS", Align::kRight},
               {"ROOT"},
               {"MANIFEST"}});
  for (const v1::Image& image : response->images()) {
    table.Add({image.name(), RuntimeOf(image), StateName(image.state()),
               fmt::format("{}", image.preload_size()), fmt::format("{}", image.forks()),
               image.version() == 0 ? "host" : HumanBytes(image.root_bytes()), image.manifest()});
  }
  table.Print();
  for (const v1::Image& image : response->images()) {
    if (image.reason().empty()) continue;
    fmt::print("\n{}: {}\n", image.name(), ForTerminal(image.reason(), 1));
  }
  return kDone;
}

Outcome Show(const Context& context, const std::string& name) {
  v1::GetImageRequest request;
  request.set_name(name);
  auto image = CallDaemon<v1::Image>(context, kService, "Get", request);
  if (!image) return tl::unexpected(image.error());
  if (context.json) {
    PrintJson(ToJson(*image));
    return kDone;
  }
  std::vector<std::pair<std::string, std::string>> pairs{
      {"Name", image->name()},
      {"Runtime", RuntimeOf(*image)},
      {"Manifest", image->manifest()},
      {"Version", image->version() == 0 ? "" : fmt::format("{}", image->version())},
      {"Digest", image->digest()},
      {"Root", RootOf(*image)},
      {"Source", image->source()},
      {"Source digest", image->source_digest()},
      {"Imported", image->version() == 0 ? "" : HumanTime(image->created_unix_ms())},
      {"State", StateName(image->state())},
      {"Reason", image->reason()},
      {"Zygote", image->zygote_pid() == 0 ? "" : fmt::format("process {}", image->zygote_pid())},
      {"Starts", image->eager() ? "with the daemon" : "with the first call"},
      {"Forks", fmt::format("{}", image->forks())},
      {"Interpreter", image->interpreter()},
      {"Options", Joined(image->options())},
      {"Preloaded", Joined(image->preload())},
      {"Warm-up", image->warm_up()},
      {"Packages", Joined(image->packages())},
      {"Threads", image->threads() ? "of preloaded modules are copied" : ""},
      {"Loopback", image->policy().loopback() ? "TCP and UDP inside each sandbox" : ""},
      {"Denied", Joined(image->policy().deny())},
      {"Flat", image->flat() ? "" : "no, by its manifest"},
  };
  for (const v1::LibrarySet& set : image->sets()) {
    pairs.emplace_back("Library set",
                       set.name() + ": " + Joined(set.modules()) +
                           (set.parent().empty() ? "" : "; on top of " + set.parent()) +
                           (set.eager() ? "; always there" : ""));
  }
  const std::map<std::string, std::string> environment(image->environment().begin(),
                                                       image->environment().end());
  const std::set<std::string> of_archive(image->archive_environment().begin(),
                                         image->archive_environment().end());
  for (const auto& [key, value] : environment) {
    const char* from = of_archive.contains(key) ? "  (of the archive)" : "";
    pairs.emplace_back("Environment", key + "=" + value + from);
  }
  for (auto& pair : LimitPairs(image->limits())) pairs.push_back(std::move(pair));
  PrintPairs(pairs);
  return kDone;
}

}  // namespace

void AddImage(CLI::App& app, Context& context) {
  CLI::App* image = app.add_subcommand("image", "List, import, build, verify and remove images");
  image->require_subcommand(1);

  CLI::App* list = AddCommand(*image, context, "ls", "List images");
  auto quiet = std::make_shared<bool>(false);
  list->add_flag("-q,--quiet", *quiet, "Print names only");
  list->callback(
      [&context, quiet] { context.command = [&context, quiet] { return List(context, *quiet); }; });

  CLI::App* show = AddCommand(*image, context, "show", "Show one image");
  auto name = std::make_shared<std::string>();
  show->add_option("NAME", *name, "Image")->required();
  show->callback(
      [&context, name] { context.command = [&context, name] { return Show(context, *name); }; });
  AddImageChanges(*image, context);
  AddImageBuild(*image, context);
}

}  // namespace spore::cli
