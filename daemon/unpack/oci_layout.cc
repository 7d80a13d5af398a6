#include "daemon/unpack/oci_layout.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <nlohmann/json.hpp>

#include "daemon/unpack/image_source.h"

namespace spore::unpack {
namespace {

using Json = nlohmann::json;

constexpr uint64_t kMaxJson = 8u << 20;
constexpr int kMaxIndexes = 4;  // one in another
constexpr size_t kMaxLayers = 512;
constexpr size_t kMaxEnvironment = 64 * 1024;  // daemon/images/archive_environment.h has the same
#if defined(__x86_64__)
constexpr std::string_view kArchitecture = "amd64";
#elif defined(__aarch64__)
constexpr std::string_view kArchitecture = "arm64";
#else
#error "name this architecture as Go does"
#endif

// Of a configuration (OCI image spec, config.md), beside Env.
constexpr const char* kUnusedKeys[] = {"Entrypoint", "Cmd", "WorkingDir", "User"};

struct Descriptor {
  std::string media_type;
  std::string digest;
  uint64_t size = 0;
};

tl::unexpected<Error> Refuse(std::string message) {
  return MakeError(ErrorKind::kInvalid, "OCI image: " + std::move(message));
}

UniqueFd OpenIn(int layout, const std::string& path) {
  open_how how = {};
  how.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV;
  return UniqueFd(static_cast<int>(syscall(SYS_openat2, layout, path.c_str(), &how, sizeof how)));
}

bool IsDigest(std::string_view digest) {
  constexpr std::string_view kPrefix = "sha256:";
  return digest.size() == kPrefix.size() + 64 && digest.starts_with(kPrefix) &&
         std::all_of(digest.begin() + kPrefix.size(), digest.end(),
                     [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

std::string Text(const Json& object, const char* key) {
  const auto found = object.is_object() ? object.find(key) : object.end();
  return object.is_object() && found != object.end() && found->is_string()
             ? found->get<std::string>()
             : std::string();
}

Result<Json> ParseJson(const std::string& text, const std::string& what) {
  Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return Refuse(what + " is no JSON object");
  return json;
}

Result<Descriptor> ReadDescriptor(const Json& json, const std::string& what) {
  Descriptor descriptor;
  descriptor.media_type = Text(json, "mediaType");
  descriptor.digest = Text(json, "digest");
  if (!IsDigest(descriptor.digest)) {
    return Refuse(
        fmt::format("the digest of {} is {}; expected \"sha256:\" and 64 hexadecimal digits", what,
                    Quote(descriptor.digest)));
  }
  const auto size = json.find("size");
  if (size == json.end() || !size->is_number_unsigned())
    return Refuse(fmt::format("{} {} has no size", what, descriptor.digest));
  descriptor.size = size->get<uint64_t>();
  return descriptor;
}

// The members of an array of descriptors.
Result<const Json*> Descriptors(const Json& json, const char* key, const std::string& what) {
  const auto found = json.find(key);
  if (found == json.end() || !found->is_array() || found->size() > kMaxLayers)
    return Refuse(fmt::format("{} has no array \"{}\" of at most {}", what, key, kMaxLayers));
  return &*found;
}

class Layout {
 public:
  Layout(int directory, ImageArchive& archive, uint64_t max_bytes)
      : directory_(directory), archive_(archive), max_bytes_(max_bytes) {}

  Result<OciImage> Unpack() {
    SPORE_ASSIGN(const std::string text, ReadSmall("index.json", "index.json", nullptr));
    SPORE_ASSIGN(const Json index, ParseJson(text, "index.json"));
    SPORE_TRY(Choose(index, "index.json", 1));
    if (chosen_.empty()) return NoneForThisHost();
    if (chosen_.size() > 1) {
      std::string all;
      for (const Descriptor& one : chosen_) all += (all.empty() ? "" : ", ") + one.digest;
      return Refuse("there are several for this host: " + all +
                    "; expected one: write it into a layout of its own");
    }
    SPORE_TRY(UnpackManifest(chosen_.front()));
    image_.digest = chosen_.front().digest;
    return std::move(image_);
  }

 private:
  Result<UniqueFd> OpenBlob(const Descriptor& blob, const std::string& what) const {
    UniqueFd file = OpenIn(directory_, "blobs/sha256/" + blob.digest.substr(7));
    struct stat info = {};
    if (!file || !StatFile(file.get(), &info) || !S_ISREG(info.st_mode))
      return Refuse(fmt::format("{} {} is missing", what, blob.digest));
    if (static_cast<uint64_t>(info.st_size) != blob.size) {
      return Refuse(fmt::format("{} {} has {} bytes; expected {}", what, blob.digest, info.st_size,
                                blob.size));
    }
    return file;
  }

  static Result<> CheckDigest(const std::string& what, const std::string& expected,
                              const std::string& found) {
    if (found == expected) return {};
    return Refuse(fmt::format("{} is not what its digest says: it has {}; expected {}", what, found,
                              expected));
  }

  Result<std::string> ReadSmall(const std::string& path, const std::string& what,
                                const Descriptor* expected) const {
    UniqueFd file;
    if (expected != nullptr) {
      SPORE_ASSIGN(file, OpenBlob(*expected, what));
    } else {
      file = OpenIn(directory_, path);
      if (!file) return Refuse(path + " is missing");
    }
    std::string text;
    std::array<char, 16384> buffer;
    for (;;) {
      const ssize_t got = read(file.get(), buffer.data(), buffer.size());
      if (got < 0) return SysError("read", what);
      if (got == 0) break;
      text.append(buffer.data(), static_cast<size_t>(got));
      if (text.size() > kMaxJson) return Refuse(what + " is too long");
    }
    if (expected == nullptr) return text;
    Sha256 digest;
    digest.Add(text.data(), text.size());
    SPORE_TRY(CheckDigest(what, expected->digest, digest.Finish()));
    return text;
  }

  // Manifests for this host among those that an index lists; one in an index of its own as well.
  Result<> Choose(const Json& index, const std::string& what, int depth) {
    SPORE_ASSIGN(const Json* manifests, Descriptors(index, "manifests", what));
    for (const Json& one : *manifests) {
      SPORE_ASSIGN(Descriptor descriptor, ReadDescriptor(one, "manifest"));
      const std::string& type = descriptor.media_type;
      if (type == "application/vnd.oci.image.index.v1+json" ||
          type == "application/vnd.docker.distribution.manifest.list.v2+json") {
        if (depth == kMaxIndexes) return Refuse("indexes lie too deep in one another");
        SPORE_ASSIGN(const std::string text, ReadSmall({}, "index", &descriptor));
        SPORE_ASSIGN(const Json inner, ParseJson(text, "index " + descriptor.digest));
        SPORE_TRY(Choose(inner, "index " + descriptor.digest, depth + 1));
      } else if (type == "application/vnd.oci.image.manifest.v1+json" ||
                 type == "application/vnd.docker.distribution.manifest.v2+json") {
        if (!FitsHost(one)) continue;
        const bool known =
            std::any_of(chosen_.begin(), chosen_.end(),
                        [&](const Descriptor& other) { return other.digest == descriptor.digest; });
        if (!known) chosen_.push_back(std::move(descriptor));
      }
    }
    return {};
  }

  // One without a platform is judged by its configuration, later.
  bool FitsHost(const Json& descriptor) {
    const auto platform = descriptor.find("platform");
    if (platform == descriptor.end()) return true;
    const std::string os = Text(*platform, "os"), architecture = Text(*platform, "architecture");
    if (os == "linux" && architecture == kArchitecture) return true;
    others_ += (others_.empty() ? "" : ", ") + Quote(os + "/" + architecture);
    return false;
  }

  tl::unexpected<Error> NoneForThisHost() const {
    return Refuse(fmt::format("there is none for linux/{}, but for {}", kArchitecture,
                              others_.empty() ? "nothing at all" : others_));
  }

  Result<> UnpackManifest(const Descriptor& descriptor) {
    SPORE_ASSIGN(const std::string text, ReadSmall({}, "manifest", &descriptor));
    SPORE_ASSIGN(const Json manifest, ParseJson(text, "manifest"));
    const auto config = manifest.find("config");
    if (config == manifest.end() || !config->is_object())
      return Refuse("the manifest has no configuration");
    SPORE_ASSIGN(const Descriptor of_config, ReadDescriptor(*config, "configuration"));
    SPORE_ASSIGN(const Json* layers, Descriptors(manifest, "layers", "the manifest"));
    SPORE_ASSIGN(const std::vector<std::string> diff_ids, ReadConfig(of_config, layers->size()));
    for (size_t i = 0; i < layers->size(); ++i) {
      SPORE_ASSIGN(const Descriptor layer, ReadDescriptor((*layers)[i], "layer"));
      if (auto added = AddLayer(layer, diff_ids[i]); !added)
        return tl::unexpected(std::move(added).error().Wrap("layer " + layer.digest));
    }
    return {};
  }

  Result<std::vector<std::string>> ReadConfig(const Descriptor& descriptor, size_t layers) {
    SPORE_ASSIGN(const std::string text, ReadSmall({}, "configuration", &descriptor));
    SPORE_ASSIGN(const Json config, ParseJson(text, "configuration"));
    const std::string os = Text(config, "os"), architecture = Text(config, "architecture");
    if (os != "linux" || architecture != kArchitecture) {
      return Refuse(fmt::format("it is for {}; this host is linux/{}",
                                Quote(os + "/" + architecture), kArchitecture));
    }
    SPORE_TRY(ReadProcess(config));
    std::vector<std::string> diff_ids;
    const auto rootfs = config.find("rootfs");
    if (rootfs != config.end() && rootfs->is_object() && rootfs->contains("diff_ids") &&
        (*rootfs)["diff_ids"].is_array()) {
      for (const Json& id : (*rootfs)["diff_ids"])
        diff_ids.push_back(id.is_string() ? id.get<std::string>() : "");
    }
    if (diff_ids.size() != layers ||
        !std::all_of(diff_ids.begin(), diff_ids.end(), [](const auto& id) { return IsDigest(id); }))
      return Refuse(
          fmt::format("the configuration does not name a diff_id for each of {} layers", layers));
    return diff_ids;
  }

  // What a container of the image would run, and how: the environment is for an image here, too.
  Result<> ReadProcess(const Json& config) {
    const auto process = config.find("config");
    if (process == config.end() || !process->is_object()) return {};
    std::string unused;
    for (const char* key : kUnusedKeys) {
      const auto value = process->find(key);
      if (value == process->end() || value->empty() || *value == "") continue;
      unused += (unused.empty() ? "" : ", ") + std::string(key);
    }
    if (!unused.empty()) {
      image_.notes.push_back("not used of the archive's configuration: " + unused +
                             "; functions and runs say these themselves");
    }
    const auto environment = process->find("Env");
    if (environment == process->end() || environment->is_null()) return {};
    if (!environment->is_array()) return Refuse("Env of its configuration is no list");
    for (const Json& variable : *environment) {
      if (!variable.is_string()) return Refuse("Env of its configuration is no list of texts");
      const std::string& text = variable.get_ref<const std::string&>();
      if (text.find('\0') != text.npos) return Refuse("Env of its configuration holds a NUL");
      image_.environment += text + '\0';
    }
    if (image_.environment.size() <= kMaxEnvironment) return {};
    return Refuse(fmt::format("Env of its configuration has {} bytes; expected at most {}",
                              image_.environment.size(), kMaxEnvironment));
  }

  Result<> AddLayer(const Descriptor& layer, const std::string& diff_id) {
    const std::string& type = layer.media_type;
    const bool known = type.starts_with("application/vnd.oci.image.layer.") ||
                       type.starts_with("application/vnd.docker.image.rootfs.");
    if (!known || type.find("encrypted") != type.npos)
      return Refuse("its media type " + Quote(type) + " is not known");
    SPORE_ASSIGN(const UniqueFd file, OpenBlob(layer, "layer"));
    FileSource blob(file.get(), max_bytes_);
    DecompressedSource tar(blob, max_bytes_);
    SPORE_TRY(tar.Open());
    SPORE_TRY(archive_.Add(tar, false, true));
    SPORE_TRY(blob.Drain());
    SPORE_TRY(CheckDigest("it", layer.digest, blob.Digest()));
    return CheckDigest("it, decompressed,", diff_id, tar.Digest());
  }

  int directory_;
  ImageArchive& archive_;
  uint64_t max_bytes_;
  std::vector<Descriptor> chosen_;
  std::string others_;
  OciImage image_;
};

}  // namespace

bool IsOciLayout(int directory) {
  return OpenIn(directory, "oci-layout").valid() && OpenIn(directory, "index.json").valid();
}

Result<OciImage> UnpackOciLayout(int layout, ImageArchive& archive, uint64_t max_bytes) {
  return Layout(layout, archive, max_bytes).Unpack();
}

}  // namespace spore::unpack
