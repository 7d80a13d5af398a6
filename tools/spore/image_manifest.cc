#include "tools/spore/image_manifest.h"

#include <fcntl.h>
#include <toml++/toml.h>

#include <cerrno>

#include "tools/client/memfd.h"

namespace spore::cli {
namespace {

constexpr std::size_t kMaxManifest = 1u << 20;

}  // namespace

Expected<ManifestFacts> ReadManifest(const std::string& path) {
  ManifestFacts facts;
  if (path.empty()) return facts;
  const client::Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd.valid())
    return Fail(kUsage, client::LocalError("cannot read " + path, errno).value().message);
  auto text = client::ReadAll(fd.get(), kMaxManifest, path);
  if (!text) return Fail(kUsage, text.error().message);
  facts.text = std::move(*text);
  try {
    const toml::table table = toml::parse(facts.text, path);
    facts.runtime = table["runtime"].value_or(std::string());
    facts.root = table["root"].value_or(std::string());
    if (const toml::array* packages = table["packages"].as_array()) {
      for (const toml::node& package : *packages)
        facts.packages.push_back(package.value_or(std::string()));
    }
  } catch (const toml::parse_error& error) {
    return Fail(kUsage, path + ":" + std::to_string(error.source().begin.line) + ": " +
                            std::string(error.description()));
  }
  return facts;
}

}  // namespace spore::cli
