#include "daemon/functions/import_hints.h"

#include <algorithm>
#include <set>
#include <utility>

namespace spore {

const ImportHints::Hint* ImportHints::Find(const Version& version) const {
  const auto found = entries_.find(version.get());
  if (found == entries_.end() || found->second.version.expired()) return nullptr;
  return &found->second.hint;
}

void ImportHints::Keep(const Version& version, Hint hint) {
  if (Find(version) != nullptr) return;
  Prune();
  entries_[version.get()] = {version, std::move(hint)};
}

// Now and then those whose versions are no more.
void ImportHints::Prune() {
  if (entries_.size() < prune_at_) return;
  std::erase_if(entries_, [](const auto& held) { return held.second.version.expired(); });
  prune_at_ = std::max<size_t>(1024, 2 * entries_.size());
}

std::vector<std::string> ModulesOfSets(const ImageManifest& image) {
  std::set<std::string> modules;
  for (const LibrarySet& set : image.sets) modules.insert(set.modules.begin(), set.modules.end());
  return {modules.begin(), modules.end()};
}

std::string BestSet(const ImageManifest& image, const std::vector<std::string>& imported) {
  const std::set<std::string> there(imported.begin(), imported.end());
  std::string best;
  std::pair<size_t, size_t> best_size;
  for (const LibrarySet& set : image.sets) {
    size_t modules = 0;
    const auto chain = image.Chain(set.name);
    const bool fits = std::all_of(chain.begin(), chain.end(), [&](const LibrarySet* held) {
      modules += held->modules.size();
      return std::all_of(held->modules.begin(), held->modules.end(),
                         [&](const std::string& module) { return there.contains(module); });
    });
    if (const std::pair size(chain.size(), modules); fits && size > best_size) {
      best = set.name;
      best_size = size;
    }
  }
  return best;
}

}  // namespace spore
