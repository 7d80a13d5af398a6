// What is known of the imports of each function: the library set that its starts are to come from.
//
// It is the runtime's word, from a process that may be the tenant's by then. So it chooses among
// the operator's sets and does nothing else: who lies gets a sandbox in which other libraries of
// the same image have been imported (docs/threat-model.md).
//
// One thread.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "daemon/config/config.h"
#include "daemon/functions/function_store.h"

namespace spore {

class ImportHints {
 public:
  using Version = std::shared_ptr<const FunctionVersion>;
  struct Hint {
    std::string set;        // empty: none fits
    uint64_t saves_us = 0;  // at most: what loading it took
  };

  const Hint* Find(const Version& version) const;  // null: nothing is known
  // The first that is said stays: a later load, from the set, says less of the time.
  void Keep(const Version& version, Hint hint);

 private:
  struct Entry {
    std::weak_ptr<const FunctionVersion> version;  // another can come to have the same address
    Hint hint;
  };
  void Prune();

  std::map<const FunctionVersion*, Entry> entries_;
  size_t prune_at_ = 1024;
};

// All modules that sets of the image name, in no order, each once.
std::vector<std::string> ModulesOfSets(const ImageManifest& image);
// The set all of whose modules, and those of the sets above it, are among `imported`; of several
// the deepest, then the one with the most modules. Empty: there is none.
std::string BestSet(const ImageManifest& image, const std::vector<std::string>& imported);

}  // namespace spore
