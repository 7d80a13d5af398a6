// Reading of image manifests (spore-image(5)); declared in daemon/config/config.h.
#include <dirent.h>

#include <algorithm>
#include <cctype>
#include <cerrno>

#include "daemon/common/runtimes.h"
#include "daemon/common/validate.h"
#include "daemon/config/config.h"
#include "daemon/config/library_sets.h"
#include "daemon/config/toml_reader.h"
#include "sandbox/policy/denied_calls.h"
#include "zygote/protocol.h"

namespace spore {
namespace {

bool IsVariableName(const std::string& name) {
  return !name.empty() && std::isdigit(static_cast<unsigned char>(name[0])) == 0 &&
         std::all_of(name.begin(), name.end(), [](char c) {
           return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_';
         });
}

// The runtime, and what its default and its rules decide.
void CheckRuntime(TomlReader& reader, ImageManifest& image) {
  const RuntimeFacts* runtime = FindRuntime(image.runtime);
  if (image.runtime.empty()) {
    reader.Fail("runtime", "must be given; expected " + RuntimeNames());
  } else if (runtime == nullptr) {
    reader.Fail("runtime", "\"" + image.runtime + "\" is unknown; expected " + RuntimeNames());
  }
  if (runtime == nullptr) return;
  if (runtime->runs_programs && !image.interpreter.empty())
    reader.Fail("interpreter", "not to be given: runtime " + image.runtime + " brings its own");
  if (image.threads && !runtime->threads_optional)
    reader.Fail("threads", "not to be given: whether runtime " + image.runtime +
                               " has threads is not for an image to choose");
  if (runtime->needs_loopback && !image.loopback)
    reader.Fail("runtime", "\"" + image.runtime +
                               "\" needs loopback = true in a table [policy], because it speaks "
                               "HTTP inside the sandbox");
  if (image.interpreter.empty()) image.interpreter = runtime->interpreter;
  for (const std::string& module : image.preload) {
    if (!runtime->is_preload(module))
      reader.Fail("preload", "\"" + module + "\" is not the name of a module or library");
  }
}

// What the key `root` may say depends on where the manifest is.
void CheckRoot(TomlReader& reader, const ImageManifest& image) {
  if (image.root_source.empty() || image.root_source == "host") return;
  reader.Fail("root", "\"" + image.root_source +
                          "\": an image in image-dirs has the host's root; `spore image import` "
                          "makes one with a root of its own");
}

void CheckWarmUp(TomlReader& reader, const ImageManifest& image) {
  const RuntimeFacts* runtime = FindRuntime(image.runtime);
  if (image.warm_up.empty() || runtime == nullptr) return;
  if (runtime->is_warm_up == nullptr) {
    reader.Fail("warm-up", "not to be given: runtime " + image.runtime + " has no such hook");
  } else if (!runtime->is_warm_up(image.warm_up)) {
    reader.Fail("warm-up", "\"" + image.warm_up + "\" is no such function; expected " +
                               std::string(runtime->handler_form));
  }
}

// The table [policy]: what sandboxes of the image may and may not, other than those of others.
void ReadPolicy(TomlReader& parent, const std::string& file, ImageManifest& image) {
  const toml::table* table = parent.Table("policy");
  if (table == nullptr) return;
  TomlReader reader(*table, file, "policy.");
  reader.Strings("deny", &image.deny);
  reader.Bool("loopback", &image.loopback);
  size_t bytes = 0;
  for (const std::string& name : image.deny) bytes += name.size() + 1;
  if (auto denied = DeniedCalls::Make(image.deny); !denied)
    reader.Fail("deny", denied.error().operation);
  if (bytes > wire::kMaxDeniedNames)
    reader.Fail("deny", "too long: names of at most 1023 bytes together");
  parent.Check(reader.Finish());
}

Result<ImageManifest> ReadManifest(const toml::table& table, const std::string& path,
                                   const std::string& stem, bool of_host) {
  TomlReader reader(table, path);
  ImageManifest image;
  image.name = stem;
  image.path = path;
  reader.String("name", &image.name);
  reader.String("runtime", &image.runtime);
  reader.AbsolutePath("interpreter", &image.interpreter);
  reader.Strings("preload", &image.preload);
  reader.String("warm-up", &image.warm_up);
  reader.Strings("options", &image.options);
  reader.StringMap("environment", &image.environment);
  reader.Strings("packages", &image.packages);
  reader.Bool("eager", &image.eager);
  reader.Bool("threads", &image.threads);
  reader.Bool("flat", &image.flat);
  reader.String("root", &image.root_source);
  ReadLimits(reader, path, "limits", &image.limits);
  ReadPolicy(reader, path, image);
  if (auto valid = ValidateFunctionName(image.name); !valid) {
    reader.Fail("name", "\"" + image.name + "\" is not a name of letters, digits, \"_\" and \"-\"");
  }
  if (of_host) {
    CheckRoot(reader, image);
  } else if (image.name != stem) {
    reader.Fail("name", "\"" + image.name + "\", but it is imported as \"" + stem + "\"");
  }
  CheckRuntime(reader, image);
  CheckWarmUp(reader, image);
  ReadLibrarySets(reader, path, image);
  for (const auto& [name, value] : image.environment) {
    if (!IsVariableName(name)) reader.Fail("environment", "\"" + name + "\" is not a variable");
  }
  SPORE_TRY(reader.Finish());
  return image;
}

Result<ImageManifest> LoadManifest(const std::string& path, const std::string& stem) {
  SPORE_ASSIGN(const toml::table table, ParseTomlFile(path));
  return ReadManifest(table, path, stem, true);
}

// File names in `directory` that end in .toml, sorted; a missing directory has none.
Result<std::vector<std::string>> ManifestNames(const std::string& directory) {
  std::vector<std::string> names;
  DIR* stream = opendir(directory.c_str());
  if (stream == nullptr) {
    if (errno == ENOENT) return names;
    return SysError("open directory", directory);
  }
  while (const dirent* entry = readdir(stream)) {
    const std::string name = entry->d_name;
    if (name[0] != '.' && name.size() > 5 && name.ends_with(".toml")) names.push_back(name);
  }
  closedir(stream);
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace

Result<ImageManifest> ParseImageManifest(const std::string& text, const std::string& file,
                                         const std::string& name) {
  SPORE_ASSIGN(const toml::table table, ParseToml(text, file));
  return ReadManifest(table, file, name, false);
}

Result<std::map<std::string, ImageManifest>> LoadImages(const std::vector<std::string>& dirs) {
  std::map<std::string, ImageManifest> images;
  for (const std::string& directory : dirs) {
    SPORE_ASSIGN(const std::vector<std::string> names, ManifestNames(directory));
    for (const std::string& name : names) {
      SPORE_ASSIGN(ImageManifest image,
                   LoadManifest(directory + "/" + name, name.substr(0, name.size() - 5)));
      const std::string key = image.name;
      images[key] = std::move(image);
    }
  }
  return images;
}

}  // namespace spore
