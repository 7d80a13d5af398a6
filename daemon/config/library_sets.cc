#include "daemon/config/library_sets.h"

#include <algorithm>
#include <set>

#include "daemon/common/runtimes.h"
#include "daemon/common/validate.h"
#include "zygote/protocol.h"

namespace spore {
namespace {

constexpr size_t kMaxSets = 64;
// All that an instance is asked about goes to it, and back, in a frame that is small.
constexpr size_t kMaxNames = 3000;

LibrarySet ReadOne(const toml::table& table, const std::string& file, TomlReader& reader) {
  TomlReader inner(table, file, "set.");
  LibrarySet set;
  inner.String("name", &set.name);
  inner.String("parent", &set.parent);
  inner.Strings("modules", &set.modules);
  inner.Bool("eager", &set.eager);
  if (!ValidateFunctionName(set.name))
    inner.Fail("name", "\"" + set.name + "\" is not a name of letters, digits, \"_\" and \"-\"");
  if (set.name == "auto" || set.name == "none")
    inner.Fail("name", "\"" + set.name + "\" has a meaning of its own");
  if (set.modules.empty()) inner.Fail("modules", "must name at least one module");
  reader.Check(inner.Finish());
  return set;
}

// Each after its parent, which must be there and not below it.
std::vector<LibrarySet> InOrder(const std::vector<LibrarySet>& sets, TomlReader& reader) {
  std::vector<LibrarySet> ordered;
  std::set<std::string> placed = {""};
  while (ordered.size() < sets.size()) {
    const size_t before = ordered.size();
    for (const LibrarySet& set : sets) {
      if (placed.contains(set.name) || !placed.contains(set.parent)) continue;
      placed.insert(set.name);
      ordered.push_back(set);
    }
    if (ordered.size() > before) continue;
    for (const LibrarySet& set : sets) {
      if (!placed.contains(set.name))
        reader.Fail("set", "\"" + set.name + "\" has the parent \"" + set.parent +
                               "\", which is no set, or below it");
    }
    break;
  }
  return ordered;
}

}  // namespace

void ReadLibrarySets(TomlReader& reader, const std::string& file, ImageManifest& image) {
  std::vector<LibrarySet> sets;
  std::set<std::string> names;
  size_t bytes = 0;
  const RuntimeFacts* runtime = FindRuntime(image.runtime);
  for (const toml::table* table : reader.Tables("set")) {
    LibrarySet set = ReadOne(*table, file, reader);
    if (!names.insert(set.name).second) reader.Fail("set", "\"" + set.name + "\" is there twice");
    for (const std::string& module : set.modules) {
      bytes += module.size() + 1;
      if (runtime != nullptr && !runtime->is_preload(module))
        reader.Fail("set", "\"" + module + "\" is not the name of a module or library");
    }
    sets.push_back(std::move(set));
  }
  if (sets.empty()) return;
  if (runtime != nullptr && !runtime->library_sets)
    reader.Fail("set", "not to be given: zygotes of runtime " + image.runtime +
                           " cannot be copied into zygotes; name all in preload");
  static_assert(kMaxNames < wire::kMaxModuleNames);
  if (sets.size() > kMaxSets || bytes > kMaxNames)
    reader.Fail("set", "too many: at most 64 sets, whose modules have 3000 bytes of names");
  image.sets = InOrder(sets, reader);
}

const LibrarySet* ImageManifest::FindSet(const std::string& set) const {
  const auto found =
      std::find_if(sets.begin(), sets.end(), [&](const auto& held) { return held.name == set; });
  return found == sets.end() ? nullptr : &*found;
}

std::vector<const LibrarySet*> ImageManifest::Chain(const std::string& set) const {
  std::vector<const LibrarySet*> chain;
  for (const LibrarySet* held = FindSet(set); held != nullptr; held = FindSet(held->parent))
    chain.push_back(held);
  return chain;
}

}  // namespace spore
