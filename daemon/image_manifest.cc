// Reading of image manifests (spore-image(5)); declared in daemon/config.h.
#include <dirent.h>

#include <algorithm>
#include <cctype>
#include <cerrno>

#include "daemon/config.h"
#include "daemon/library_sets.h"
#include "daemon/runtimes.h"
#include "daemon/toml_reader.h"
#include "daemon/validate.h"

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
  if (image.interpreter.empty()) image.interpreter = runtime->interpreter;
  for (const std::string& module : image.preload) {
    if (!runtime->is_preload(module))
      reader.Fail("preload", "\"" + module + "\" is not the name of a module or library");
  }
}

Result<ImageManifest> LoadManifest(const std::string& path, const std::string& stem) {
  SPORE_ASSIGN(const toml::table table, ParseTomlFile(path));
  TomlReader reader(table, path);
  ImageManifest image;
  image.name = stem;
  image.path = path;
  reader.String("name", &image.name);
  reader.String("runtime", &image.runtime);
  reader.AbsolutePath("interpreter", &image.interpreter);
  reader.Strings("preload", &image.preload);
  reader.Strings("options", &image.options);
  reader.StringMap("environment", &image.environment);
  reader.Strings("packages", &image.packages);
  reader.Bool("eager", &image.eager);
  reader.Bool("threads", &image.threads);
  if (auto valid = ValidateFunctionName(image.name); !valid) {
    reader.Fail("name", "\"" + image.name + "\" is not a name of letters, digits, \"_\" and \"-\"");
  }
  CheckRuntime(reader, image);
  ReadLibrarySets(reader, path, image);
  for (const auto& [name, value] : image.environment) {
    if (!IsVariableName(name)) reader.Fail("environment", "\"" + name + "\" is not a variable");
  }
  SPORE_TRY(reader.Finish());
  return image;
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
