// Imported images: which versions there are, who holds them, and how they leave.
#include <algorithm>
#include <charconv>
#include <utility>

#include "daemon/common/validate.h"
#include "daemon/images/images.h"

namespace spore {
namespace {

// "NAME@VERSION" in its two parts; the version is 0 where there is none, or no number.
std::pair<std::string, uint64_t> SplitKey(const std::string& key) {
  const size_t at = key.find('@');
  if (at == key.npos) return {key, 0};
  uint64_t version = 0;
  const char* end = key.data() + key.size();
  const auto parsed = std::from_chars(key.data() + at + 1, end, version);
  const bool number = parsed.ec == std::errc() && parsed.ptr == end && key[at + 1] != '0';
  return {key.substr(0, at), number ? version : 0};
}

}  // namespace

const ImageManifest* Images::FindImported(const std::string& name) const {
  const auto [base, version] = SplitKey(name);
  const auto versions = imported_.find(base);
  if (versions == imported_.end()) return nullptr;
  if (name == base) return &versions->second.rbegin()->second;
  const auto found = versions->second.find(version);
  return found == versions->second.end() ? nullptr : &found->second;
}

Result<std::vector<ImageManifest>> Images::Imported(const std::string& name) const {
  const ImageManifest* one = FindImported(name);
  if (one == nullptr) {
    const bool of_host = images_.contains(name);
    return MakeError(of_host ? ErrorKind::kPrecondition : ErrorKind::kNotFound,
                     of_host ? "image " + name + " is the host's: it has a manifest, " +
                                   images_.at(name)->manifest().path + ", and no root of its own"
                             : "image: no imported image \"" + name.substr(0, 64) + "\"");
  }
  if (one->name == name) return std::vector<ImageManifest>{*one};
  std::vector<ImageManifest> all;
  for (const auto& [version, image] : imported_.at(one->root.image)) all.push_back(image);
  return all;
}

ZygoteImage* Images::FindStarted(const std::string& key) const {
  const auto found = images_.find(key);
  return found == images_.end() ? nullptr : found->second.get();
}

Result<> Images::CheckNewName(const std::string& name) const {
  if (auto valid = ValidateFunctionName(name); !valid) {
    return MakeError(ErrorKind::kInvalid,
                     "name: \"" + name.substr(0, 64) +
                         "\"; expected 1 to 64 of letters, digits, \"-\" and \"_\"");
  }
  for (const auto& [image, owner] : leaving_) {
    if (image->manifest().root.image != name) continue;
    return MakeError(ErrorKind::kUnavailable,
                     "image " + image->manifest().name + " is being removed", "try again");
  }
  const auto found = images_.find(name);
  if (found == images_.end()) return {};
  return MakeError(ErrorKind::kExists, "name: \"" + name + "\" is an image of the host already: " +
                                           found->second->manifest().path);
}

void Images::Add(const ImageManifest& imported) {
  imported_[imported.root.image][imported.root.version] = imported;
}

std::shared_ptr<void> Images::Hold(const std::string& key) {
  std::weak_ptr<void>& held = held_[key];
  std::shared_ptr<void> hold = held.lock();
  if (!hold) held = hold = std::make_shared<int>();
  return hold;
}

bool Images::IsHeld(const std::string& key) const {
  const auto found = held_.find(key);
  return found != held_.end() && !found->second.expired();
}

void Images::Remove(const std::string& key, std::function<void()> done) {
  const auto [base, version] = SplitKey(key);
  held_.erase(key);
  if (const auto versions = imported_.find(base); versions != imported_.end()) {
    versions->second.erase(version);
    if (versions->second.empty()) imported_.erase(versions);
  }
  auto node = images_.extract(key);
  if (node.empty()) return done();
  ZygoteImage* image = node.mapped().get();
  leaving_[image] = std::move(node.mapped());
  image->Leave([this, image, done = std::move(done)] {
    // The caller is the image's own: let it return first.
    loop_.Post([this, image, done] {
      free_uids_.push_back(image->uid_base());
      leaving_.erase(image);
      done();
    });
  });
}

std::map<std::string, ImageManifest> Images::Manifests() const {
  std::map<std::string, ImageManifest> manifests;
  for (const auto& [name, image] : images_) manifests[name] = image->manifest();
  for (const auto& [name, versions] : imported_) {
    for (const auto& [version, manifest] : versions) manifests[manifest.name] = manifest;
  }
  return manifests;
}

v1::Image Images::DescribeUnstarted(const ImageManifest& manifest) const {
  v1::Image image;
  DescribeManifest(manifest, &image);
  image.set_state(v1::Image::STOPPED);
  if (auto limits = LimitsOf(manifest)) *image.mutable_limits() = std::move(*limits);
  return image;
}

std::vector<v1::Image> Images::Describe() const {
  std::vector<v1::Image> all;
  for (const auto& [name, image] : images_) {
    if (image->manifest().root.version == 0) all.push_back(image->Describe());
  }
  for (const auto& [name, versions] : imported_) {
    for (const auto& [version, manifest] : versions) {
      const ZygoteImage* started = FindStarted(manifest.name);
      all.push_back(started != nullptr ? started->Describe() : DescribeUnstarted(manifest));
    }
  }
  std::stable_sort(all.begin(), all.end(), [](const v1::Image& a, const v1::Image& b) {
    const auto of = [](const v1::Image& image) {
      return std::pair(image.name().substr(0, image.name().find('@')), image.version());
    };
    return of(a) < of(b);
  });
  return all;
}

Result<v1::Image> Images::Describe(const std::string& name) const {
  if (const ZygoteImage* started = FindStarted(name)) return started->Describe();
  const ImageManifest* imported = FindImported(name);
  if (imported == nullptr) {
    return MakeError(ErrorKind::kNotFound,
                     "image: no image \"" + name.substr(0, 64) + "\"; there are " + Names(""));
  }
  const ZygoteImage* started = FindStarted(imported->name);
  return started != nullptr ? started->Describe() : DescribeUnstarted(*imported);
}

}  // namespace spore
