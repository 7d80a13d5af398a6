// spore.v1.Images: what zygotes and sandboxes are made from.
#include <sys/stat.h>

#include <utility>

#include "daemon/common/log.h"
#include "daemon/services/service_context.h"

namespace spore {

Result<UniqueFd> TakeArchive(std::vector<ClientFd> fds) {
  struct stat info = {};
  if (fds.size() != 1)
    return MakeError(ErrorKind::kInvalid, "import needs the archive as a descriptor");
  if (fstat(fds.front().get(), &info) != 0) return SysError("stat the archive");
  if (!S_ISREG(info.st_mode) && !S_ISFIFO(info.st_mode))
    return MakeError(ErrorKind::kInvalid, "archive: the descriptor is no file and no pipe");
  return fds.front().Take();
}

namespace {

constexpr char kService[] = "spore.v1.Images";
using CallPtr = std::shared_ptr<Call>;

void List(ServiceContext& context, const CallPtr& call) {
  v1::ListImagesResponse response;
  for (v1::Image& image : context.images.Describe()) *response.add_images() = std::move(image);
  call->Reply(response);
}

void Get(ServiceContext& context, const CallPtr& call, const v1::GetImageRequest& request) {
  auto image = context.images.Describe(request.name());
  if (!image) return call->Fail(image.error());
  call->Reply(*image);
}

Result<> MayChangeImages(const Call& call, const char* what) {
  if (MayOperate(call.peer())) return {};
  return MakeError(ErrorKind::kDenied, std::string("only root may ") + what + " images, and uid " +
                                           std::to_string(call.peer().uid) + " asked");
}

Result<> CheckImport(const ServiceContext& context, const ImageImport& import) {
  SPORE_TRY(context.images.CheckNewName(import.name));
  if (import.manifest.empty() && import.runtime.empty()) {
    return MakeError(ErrorKind::kInvalid, "runtime: empty, and there is no manifest that names one",
                     "give --runtime or --manifest");
  }
  return CompleteManifest(import).map([](const std::string&) {});
}

void Tell(ServiceContext& context, v1::HostEvent::Kind kind, const std::string& image) {
  Happening happening;
  happening.kind = kind;
  happening.image = image;
  context.history.Add(happening);
}

void Import(ServiceContext& context, const CallPtr& call, v1::ImportImageRequest& request) {
  auto archive = TakeArchive(call->TakeFds());
  if (auto may = MayChangeImages(*call, "import"); !may) return call->Fail(may.error());
  ImageImport import{std::move(*request.mutable_name()), std::move(*request.mutable_manifest()),
                     std::move(*request.mutable_runtime()), std::move(*request.mutable_source())};
  if (auto fit = CheckImport(context, import); !fit) return call->Fail(fit.error());
  if (!archive) return call->Fail(archive.error());
  context.image_store.Import(
      std::move(import), std::move(*archive), [&context, call](Result<ImportedImage> imported) {
        if (!imported) return call->Fail(imported.error());
        context.images.Add(imported->image);
        const std::string& name = imported->image.name;
        if (!imported->unchanged) {
          Log(LogLevel::kInfo, "image " + name + ": imported", {{"SPORE_IMAGE", name}});
          Tell(context, v1::HostEvent::IMAGE_IMPORTED, name);
        }
        if (imported->image.eager) {
          if (auto image = context.images.FindNamed(name)) (*image)->StartIfNeeded();
        }
        v1::ImportImageResponse response;
        if (auto image = context.images.Describe(name)) *response.mutable_image() = *image;
        response.set_unchanged(imported->unchanged);
        for (const std::string& note : imported->notes) response.add_notes(note);
        call->Reply(response);
      });
}

// The newest version where `name` names none.
Result<ImageManifest> OneImported(const ServiceContext& context, const std::string& name) {
  SPORE_ASSIGN(std::vector<ImageManifest> images, context.images.Imported(name));
  return std::move(images.back());
}

void Verify(ServiceContext& context, const CallPtr& call, const v1::VerifyImageRequest& request) {
  if (auto may = MayChangeImages(*call, "verify"); !may) return call->Fail(may.error());
  auto image = OneImported(context, request.name());
  if (!image) return call->Fail(image.error());
  context.image_store.Verify(
      *image, [&context, call, name = image->name](const Result<ListingDifferences>& found) {
        if (!found) return call->Fail(found.error());
        v1::VerifyImageResponse response;
        if (auto described = context.images.Describe(name)) *response.mutable_image() = *described;
        for (const std::string& difference : found->first) response.add_differences(difference);
        response.set_difference_count(found->count);
        call->Reply(response);
      });
}

std::string Joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ", ") + word;
  return text;
}

// Who uses one version.
Result<> CheckUnused(ServiceContext& context, const ImageManifest& image, bool force) {
  const std::string& key = image.name;
  const ZygoteImage* started = context.images.FindStarted(key);
  if (context.images.IsHeld(key)) {
    return MakeError(ErrorKind::kPrecondition,
                     "image " + key + ": a function is being deployed with it", "try again");
  }
  if (force) return {};
  std::vector<std::string> functions;
  context.store.ForEach("", [&](const DeployedFunction& deployed) {
    const v1::Function& function = deployed.latest->function;
    if (function.settings().image() == key) functions.push_back(function.name());
    for (const auto& [number, version] : deployed.published) {
      if (version->function.settings().image() == key)
        functions.push_back(function.name() + ":" + std::to_string(number));
    }
    return true;
  });
  if (!functions.empty()) {
    return MakeError(ErrorKind::kPrecondition,
                     "image " + key + " is used by " + std::to_string(functions.size()) +
                         " functions: " + Joined(functions),
                     "move them with `spore function update --image`, or use --force: they then "
                     "fail until they are moved");
  }
  const auto instances =
      context.invoker.List(false, [](uid_t, const std::string&) { return true; });
  std::vector<std::string> live;
  for (const v1::Instance& instance : instances) {
    if (instance.image() == key) live.push_back(instance.id());
  }
  if (started == nullptr) return {};
  for (const std::string& id : context.sessions.Of(*started)) live.push_back(id);
  if (live.empty()) return {};
  return MakeError(ErrorKind::kPrecondition,
                   "image " + key + ": " + std::to_string(live.size()) +
                       " instances of it are live: " + Joined(live),
                   "end them with `spore kill` or `spore sandbox kill`, or use --force");
}

// One version after the other; stops at the first that cannot be removed from the disk.
void RemoveNext(ServiceContext& context, const CallPtr& call, std::vector<ImageManifest> left,
                v1::RemoveImageResponse removed) {
  if (left.empty()) return call->Reply(removed);
  const ImageManifest image = std::move(left.back());
  left.pop_back();
  if (const ZygoteImage* started = context.images.FindStarted(image.name)) {
    context.invoker.EvictAllOf(*started, "its image was removed");
    context.sessions.EvictAllOf(*started, "its image was removed");
  }
  const auto gone = [&context, call, image, left = std::move(left),
                     removed](const Result<>& result) mutable {
    if (!result) return call->Fail(result.error());
    Log(LogLevel::kInfo, "image " + image.name + ": removed", {{"SPORE_IMAGE", image.name}});
    Tell(context, v1::HostEvent::IMAGE_REMOVED, image.name);
    removed.add_names(image.name);
    RemoveNext(context, call, std::move(left), std::move(removed));
  };
  context.images.Remove(image.name, [&context, image, gone] {
    // Before the image, so that none is ever left without: it could be made again.
    context.checkpoints.RemoveAllOf(image.name, [&context, image, gone](const Result<>& all) {
      if (!all) {
        Log(LogLevel::kError,
            "image " + image.name + ": a checkpoint of it is left: " + all.error().Message(),
            {{"SPORE_IMAGE", image.name}});
      }
      context.image_store.Remove(image.root.image, image.root.version, gone);
    });
  });
}

void Remove(ServiceContext& context, const CallPtr& call, const v1::RemoveImageRequest& request) {
  if (auto may = MayChangeImages(*call, "remove"); !may) return call->Fail(may.error());
  auto images = context.images.Imported(request.name());
  if (!images) return call->Fail(images.error());
  for (const ImageManifest& image : *images) {
    if (auto unused = CheckUnused(context, image, request.force()); !unused)
      return call->Fail(unused.error());
  }
  RemoveNext(context, call, std::move(*images), {});
}

}  // namespace

void RegisterImages(RpcServer& server, ServiceContext& context) {
  RegisterMethod<v1::ListImagesRequest>(
      server, kService, "List",
      [&context](CallPtr call, v1::ListImagesRequest&) { List(context, call); });
  RegisterMethod<v1::GetImageRequest>(
      server, kService, "Get",
      [&context](CallPtr call, v1::GetImageRequest& request) { Get(context, call, request); });
  RegisterMethod<v1::ImportImageRequest>(
      server, kService, "Import",
      [&context](CallPtr call, v1::ImportImageRequest& request) { Import(context, call, request); },
      [](const v1::ImportImageRequest&) -> size_t { return 1; });
  RegisterMethod<v1::VerifyImageRequest>(server, kService, "Verify",
                                         [&context](CallPtr call, v1::VerifyImageRequest& request) {
                                           Verify(context, call, request);
                                         });
  RegisterMethod<v1::RemoveImageRequest>(server, kService, "Remove",
                                         [&context](CallPtr call, v1::RemoveImageRequest& request) {
                                           Remove(context, call, request);
                                         });
}

}  // namespace spore
