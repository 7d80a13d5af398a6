#include "daemon/images.h"

#include "daemon/paths.h"
#include "daemon/validate.h"

namespace spore {
namespace {

constexpr uint32_t kUidBlock = 65536;

std::string Names(const std::map<std::string, std::unique_ptr<ZygoteImage>>& images,
                  const std::string& runtime) {
  std::string names;
  for (const auto& [name, image] : images) {
    if (!runtime.empty() && image->manifest().runtime != runtime) continue;
    names += (names.empty() ? "" : ", ") + name;
  }
  return names.empty() ? "none" : names;
}

}  // namespace

Result<std::unique_ptr<Images>> Images::Create(
    EventLoop& loop, CgroupTree& cgroups, Checkpoints& checkpoints, const Config& config,
    const std::map<std::string, ImageManifest>& manifests) {
  const uint32_t blocks = config.uid_count / kUidBlock;
  if (manifests.size() + 1 > blocks) {
    return MakeError(ErrorKind::kInvalid, std::to_string(manifests.size()) +
                                              " images need a uid range of " +
                                              std::to_string((manifests.size() + 1) * kUidBlock) +
                                              ", uid-count is " + std::to_string(config.uid_count));
  }
  SPORE_ASSIGN(const v1::Limits limits,
               ResolveLimits({}, config.default_limits, config.max_limits));
  auto images = std::make_unique<Images>();
  uint32_t uid_base = config.uid_base;
  for (const auto& [name, manifest] : manifests) {
    ZygoteImage::Options options;
    options.program = LibexecDirectory() + "/spore-zygote";
    options.host_directory = HostsDirectory();
    options.uid_base = uid_base;
    options.ready_sandboxes = config.ready_sandboxes;
    options.rotation = {config.zygote_max_age_ms * 1'000'000, config.zygote_max_forks};
    options.checkpoints = &checkpoints;
    options.limits = limits;
    options.sandbox.limits = {limits.memory_bytes(), limits.cpu_millis(), limits.pids()};
    options.sandbox.tmp_bytes = limits.tmp_bytes();
    images->images_[name] =
        std::make_unique<ZygoteImage>(loop, cgroups, manifest, std::move(options));
    uid_base += kUidBlock;
  }
  return images;
}

void Images::StartEager() {
  for (auto& [name, image] : images_) {
    if (image->manifest().eager) image->StartIfNeeded();
  }
}

Result<ZygoteImage*> Images::Find(const std::string& runtime, const std::string& name) const {
  if (runtime.empty()) {
    return MakeError(ErrorKind::kInvalid, "runtime: empty; expected a runtime such as \"python\"");
  }
  const std::string& wanted = name.empty() ? runtime : name;
  const auto found = images_.find(wanted);
  if (found != images_.end() && found->second->manifest().runtime == runtime) {
    return found->second.get();
  }
  bool runtime_known = false;
  for (const auto& [other, image] : images_) {
    runtime_known = runtime_known || image->manifest().runtime == runtime;
  }
  if (!runtime_known) {
    return MakeError(ErrorKind::kNotFound, "runtime: no image of runtime \"" + runtime +
                                               "\"; there are the images " + Names(images_, ""));
  }
  return MakeError(ErrorKind::kNotFound, "image: no image \"" + wanted + "\" of runtime " +
                                             runtime + "; there are " + Names(images_, runtime));
}

Result<ZygoteImage*> Images::FindNamed(const std::string& name) const {
  const auto found = images_.find(name);
  if (found != images_.end()) return found->second.get();
  return MakeError(ErrorKind::kNotFound, "image: no image \"" + name.substr(0, 64) +
                                             "\"; there are " + Names(images_, ""));
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
