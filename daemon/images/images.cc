#include "daemon/images/images.h"

#include <utility>

#include "daemon/common/log.h"
#include "daemon/common/paths.h"
#include "daemon/common/validate.h"

namespace spore {
namespace {

constexpr uint32_t kUidBlock = 65536;

}  // namespace

Result<std::unique_ptr<Images>> Images::Create(
    EventLoop& loop, BlockingLane& lane, CgroupTree& cgroups, Checkpoints& checkpoints,
    History& history, const Config& config, const std::map<std::string, ImageManifest>& manifests,
    const std::vector<ImageManifest>& imported) {
  const uint32_t blocks = config.uid_count / kUidBlock;
  if (manifests.size() + 1 > blocks) {
    return MakeError(ErrorKind::kInvalid, std::to_string(manifests.size()) +
                                              " images need a uid range of " +
                                              std::to_string((manifests.size() + 1) * kUidBlock) +
                                              ", uid-count is " + std::to_string(config.uid_count));
  }
  std::unique_ptr<Images> images(new Images(loop, lane, cgroups, checkpoints, history, config));
  for (uint32_t block = blocks - 1; block-- > 0;)
    images->free_uids_.push_back(config.uid_base + block * kUidBlock);
  for (const auto& [name, manifest] : manifests) SPORE_TRY(images->Make(manifest));
  for (const ImageManifest& image : imported) {
    if (manifests.contains(image.root.image)) {
      Log(LogLevel::kWarning,
          "image " + image.root.image + ": the host has a manifest of this " +
              "name; the imported one is found as " + image.name + " only",
          {{"SPORE_IMAGE", image.root.image}});
    }
    images->Add(image);
  }
  return images;
}

// What a function or run gets that asks for no other limits.
Result<v1::Limits> Images::LimitsOf(const ImageManifest& manifest) const {
  SPORE_ASSIGN(const v1::Limits asked, ResolveLimits(manifest.limits, config_.default_limits));
  return ResolveLimits({}, asked, config_.max_limits);
}

Images::Images(EventLoop& loop, BlockingLane& lane, CgroupTree& cgroups, Checkpoints& checkpoints,
               History& history, const Config& config)
    : loop_(loop),
      lane_(lane),
      cgroups_(cgroups),
      checkpoints_(checkpoints),
      history_(history),
      config_(config),
      keeper_(loop, {config.library_memory, config.library_idle_ms * 1'000'000},
              [this](const ZygoteTreePolicy::Decision& decision) {
                ZygoteImage* const image = FindStarted(decision.key.image);
                if (image == nullptr) return;  // it has been removed
                if (decision.grow) return image->GrowSet(decision.key.set);
                image->ShrinkSet(decision.key.set, decision.reason);
              }) {}

Result<ZygoteImage*> Images::Make(const ImageManifest& manifest) {
  if (free_uids_.empty()) {
    return MakeError(ErrorKind::kOverloaded,
                     "image " + manifest.name + ": all " + std::to_string(images_.size()) +
                         " blocks of uids are in use, one an image and version",
                     "remove versions that nobody needs, or raise uid-count in spore.toml(5)");
  }
  ZygoteImage::Options options;
  SPORE_ASSIGN(options.limits, LimitsOf(manifest));
  options.program = LibexecDirectory() + "/spore-zygote";
  options.host_directory = HostsDirectory();
  options.uid_base = free_uids_.back();
  options.ready_sandboxes = config_.ready_sandboxes;
  options.max_ready_sandboxes = config_.max_ready_sandboxes;
  // Those rest without a network namespace, and what makes one for them may not set up its device.
  options.spare_sandboxes = manifest.loopback ? 0 : config_.spare_sandboxes;
  options.rotation = {config_.zygote_max_age_ms * 1'000'000, config_.zygote_max_forks};
  const v1::Limits& limits = options.limits;
  options.sandbox.limits = {limits.memory_bytes(), limits.cpu_millis(), limits.pids(),
                            manifest.loopback};
  options.sandbox.tmp_bytes = limits.tmp_bytes();
  options.sandbox.loopback = manifest.loopback;
  options.lane = &lane_;
  options.checkpoints = &checkpoints_;
  options.history = &history_;
  options.keeper = &keeper_;
  for (const LibrarySet& set : manifest.sets)
    keeper_.Add({manifest.name, set.name}, set.parent, set.eager);
  free_uids_.pop_back();
  auto& image = images_[manifest.name];
  image = std::make_unique<ZygoteImage>(loop_, cgroups_, manifest, std::move(options));
  return image.get();
}

void Images::StartEager() {
  for (auto& [name, image] : images_) {
    if (image->manifest().eager) image->StartIfNeeded();
  }
  for (const auto& [name, versions] : imported_) {
    if (!versions.rbegin()->second.eager) continue;
    if (auto image = FindNamed(versions.rbegin()->second.name)) (*image)->StartIfNeeded();
  }
}

std::string Images::Names(const std::string& runtime) const {
  std::string names;
  const auto add = [&](const ImageManifest& image) {
    if (image.root.version != 0 &&
        imported_.at(image.root.image).rbegin()->first != image.root.version)
      return;
    if (!runtime.empty() && image.runtime != runtime) return;
    names += (names.empty() ? "" : ", ") + image.name;
  };
  for (const auto& [name, image] : images_) {
    if (image->manifest().root.version == 0) add(image->manifest());
  }
  for (const auto& [name, versions] : imported_) add(versions.rbegin()->second);
  return names.empty() ? "none" : names;
}

Result<ZygoteImage*> Images::FindNamed(const std::string& name) {
  if (ZygoteImage* started = FindStarted(name)) return started;
  if (const ImageManifest* image = FindImported(name)) {
    if (ZygoteImage* started = FindStarted(image->name)) return started;
    return Make(*image);
  }
  return MakeError(ErrorKind::kNotFound,
                   "image: no image \"" + name.substr(0, 64) + "\"; there are " + Names(""));
}

Result<ZygoteImage*> Images::Find(const std::string& runtime, const std::string& name) {
  if (runtime.empty()) {
    return MakeError(ErrorKind::kInvalid, "runtime: empty; expected a runtime such as \"python\"");
  }
  const std::string& wanted = name.empty() ? runtime : name;
  const ImageManifest* imported = FindImported(wanted);
  if (FindStarted(wanted) != nullptr || imported != nullptr) {
    SPORE_ASSIGN(ZygoteImage * image, FindNamed(wanted));
    if (image->manifest().runtime == runtime) return image;
  }
  if (Names(runtime) == "none") {
    return MakeError(ErrorKind::kNotFound, "runtime: no image of runtime \"" + runtime +
                                               "\"; there are the images " + Names(""));
  }
  return MakeError(ErrorKind::kNotFound, "image: no image \"" + wanted + "\" of runtime " +
                                             runtime + "; there are " + Names(runtime));
}

Result<ZygoteImage*> Images::FindPinned(const v1::Function& function) {
  const v1::FunctionSettings& settings = function.settings();
  const auto gone = [&](const std::string& why) {
    const uint64_t number = function.published_version();
    return MakeError(ErrorKind::kPrecondition,
                     "function " + function.name() +
                         (number == 0 ? "" : ":" + std::to_string(number)) +
                         " was deployed with image " + settings.image() + ", " + why,
                     "`spore function update " + function.name() + " --image IMAGE` moves it on" +
                         (number == 0 ? "" : "; publish it again then"));
  };
  auto image = Find(settings.runtime(), settings.image());
  if (!image && image.error().kind == ErrorKind::kNotFound) return gone("which is there no more");
  if (!image) return image;
  if ((*image)->manifest().root.digest != function.image_digest())
    return gone("which is another one now");
  return image;
}

size_t Images::EvictForMemory(size_t most, const std::string& reason) {
  std::vector<MemoryHolder> holders;
  std::vector<ZygoteImage*> images;
  for (const auto& [name, image] : images_) {
    auto holder = image->DescribeIdleMemory();
    if (!holder) continue;
    holder->id = images.size();
    holders.push_back(*holder);
    images.push_back(image.get());
  }
  size_t ended = 0;
  for (const uint64_t id : ByWorth(holders)) {
    if (ended == most) break;
    Log(LogLevel::kInfo, "image " + images[id]->manifest().name + ": " + reason,
        {{"SPORE_IMAGE", images[id]->manifest().name}});
    images[id]->Evict([](const Result<>&) {});
    ++ended;
  }
  return ended;
}

void Images::ShutDown(std::function<void()> done) {
  auto left = std::make_shared<size_t>(images_.size() + 1);
  auto one_done = [left, done = std::move(done)] {
    if (--*left == 0) done();
  };
  for (auto& [name, image] : images_) image->ShutDown(one_done);
  one_done();
}

}  // namespace spore
