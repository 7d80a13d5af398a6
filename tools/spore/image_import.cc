// spore image import, verify and rm.
#include <fmt/format.h>

#include <filesystem>
#include <memory>

#include "tools/client/image_tar.h"
#include "tools/spore/context.h"
#include "tools/spore/image.h"
#include "tools/spore/image_manifest.h"
#include "tools/spore/output.h"
#include "tools/spore/units.h"

namespace spore::cli {
namespace {

constexpr const char* kService = "spore.v1.Images";

void Report(const Context& context, const v1::ImportImageResponse& response, bool quiet) {
  const v1::Image& image = response.image();
  if (context.json) return PrintJson(ToJson(response));
  if (quiet) return fmt::print("{}\n", image.name());
  for (const std::string& note : response.notes()) fmt::print("{}\n", ForTerminal(note, 1));
  fmt::print("{} {}: {}, {} in {} files and folders\n",
             response.unchanged() ? "unchanged" : "imported", image.name(), image.root(),
             HumanBytes(image.root_bytes()), image.root_files());
}

Outcome Verify(const Context& context, const std::string& name) {
  v1::VerifyImageRequest request;
  request.set_name(name);
  auto response = CallDaemon<v1::VerifyImageResponse>(context, kService, "Verify", request);
  if (!response) return tl::unexpected(response.error());
  if (context.json) {
    PrintJson(ToJson(*response));
  } else {
    for (const std::string& difference : response->differences())
      fmt::print("{}\n", ForTerminal(difference, 1));
    const auto told = static_cast<uint64_t>(response->differences_size());
    if (response->difference_count() > told)
      fmt::print("and {} more\n", response->difference_count() - told);
    if (response->difference_count() == 0)
      fmt::print("{}: as it was imported, {}\n", response->image().name(),
                 response->image().digest());
  }
  if (response->difference_count() == 0) return kDone;
  return Fail(kFunctionFailed, fmt::format("{} is not as it was imported: {} differences",
                                           response->image().name(), response->difference_count()));
}

Outcome Remove(const Context& context, const std::vector<std::string>& names, bool force) {
  return CallForEach(context, names,
                     [force](client::Connection& connection, const auto& name) -> client::Result<> {
                       v1::RemoveImageRequest request;
                       request.set_name(name);
                       request.set_force(force);
                       auto removed =
                           connection.Call<v1::RemoveImageResponse>(kService, "Remove", request);
                       if (!removed) return tl::unexpected(removed.error());
                       for (const std::string& one : removed->names()) fmt::print("{}\n", one);
                       return {};
                     });
}

}  // namespace

Outcome ImportImage(const Context& context, const ImageArguments& arguments) {
  auto manifest = ReadManifest(arguments.manifest);
  if (!manifest) return tl::unexpected(manifest.error());
  std::string root = arguments.root;
  if (root.empty()) {
    // Relative to where the manifest is.
    const std::string& named = manifest->root;
    if (named == "debian" || named.starts_with("debian:"))
      return Fail(kUsage, "the manifest's root is " + named + ": use `spore image build`");
    if (!named.empty() && named != "host")
      root = (std::filesystem::path(arguments.manifest).parent_path() / named).string();
  }
  if (root.empty()) return Fail(kUsage, "--root is required, as the manifest names no root");
  auto archive = client::ImageArchive::Open(root);
  if (!archive) return Fail(kUsage, archive.error().message);
  v1::ImportImageRequest request;
  request.set_name(arguments.name);
  request.set_manifest(std::move(manifest->text));
  request.set_runtime(arguments.runtime);
  std::error_code error;
  const auto absolute = std::filesystem::absolute(root, error);
  request.set_source(arguments.source.empty() ? absolute.string() : arguments.source);
  auto response =
      CallDaemon<v1::ImportImageResponse>(context, kService, "Import", request, {archive->fd()});
  if (auto packed = archive->Finish(); !packed) return Fail(kUsage, packed.error().message);
  if (!response) return tl::unexpected(response.error());
  Report(context, *response, arguments.quiet);
  return kDone;
}

void AddImageChanges(CLI::App& image, Context& context) {
  CLI::App* import = AddCommand(image, context, "import",
                                "Make a version of an image from a directory or an archive");
  auto made = std::make_shared<ImageArguments>();
  import->add_option("NAME", made->name, "Name of the image")->required();
  import->add_option("--runtime", made->runtime, "Language runtime, unless the manifest says");
  import
      ->add_option("--root", made->root,
                   "Directory or tar archive: the root itself, or an OCI image layout")
      ->type_name("PATH");
  import->add_option("--manifest", made->manifest, "Manifest, spore-image(5)")->type_name("FILE");
  import->add_flag("-q,--quiet", made->quiet, "Print the name only");
  import->callback([&context, made] {
    context.command = [&context, made] { return ImportImage(context, *made);
};
}  // namespace spore::cli
);

CLI::App* verify = AddCommand(image, context, "verify",
                              "Compute an image's digests again and tell what was altered");
auto name = std::make_shared<std::string>();
verify->add_option("NAME", *name, "Image: NAME, its newest version, or NAME@VERSION")->required();
verify->callback([&context, name] {
  context.command = [&context, name] { return Verify(context, *name); };
});

CLI::App* remove = AddCommand(image, context, "rm", "Remove imported images, or versions of them");
auto names = std::make_shared<std::vector<std::string>>();
auto force = std::make_shared<bool>(false);
remove->add_option("NAME", *names, "Images: NAME, all versions, or NAME@VERSION")->required();
remove->add_flag("--force", *force, "Also when functions use it; its instances are killed");
remove->callback([&context, names, force] {
  context.command = [&context, names, force] { return Remove(context, *names, *force); };
});
}

}  // namespace spore::cli
