// An image's root while it is put together: what archives say, below one directory and nowhere
// else.
//
// Unlike a function's code (tree_writer.h) a root has absolute links, links to folders that later
// entries pass through, and layers that replace and remove what earlier ones brought. Every path is
// resolved by the kernel as if the directory were "/" (RESOLVE_IN_ROOT, openat2(2)).
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <functional>
#include <string>
#include <unordered_set>

#include "daemon/unpack/entry_name.h"
#include "sandbox/sys/result.h"
#include "sandbox/sys/unique_fd.h"

namespace spore::unpack {

// fstat(2) by its own system call: glibc's asks by way of a path, which the filter refuses.
bool StatFile(int fd, struct stat* info);

// Names are clean (CleanEntryName). An error of the archive is kInvalid; others are ours.
class ImageTree {
 public:
  ImageTree(int root, uint32_t max_entries) : root_(root), max_entries_(max_entries) {}

  // From here on entries are of a new layer: whiteouts spare what it brings itself.
  void BeginLayer() { made_.clear(); }

  // Each replaces what is there; only a folder goes on with the folder it finds.
  Result<> AddDirectory(const std::string& name, mode_t mode);
  Result<UniqueFd> AddFile(const std::string& name, mode_t mode);
  Result<> AddSymlink(const std::string& name, const std::string& target);
  // A regular file that is there already, for copying; `link` is the entry that names it.
  Result<UniqueFd> OpenFile(const std::string& name, const std::string& link);
  // What earlier layers have at `name`, or in the folder `name`, is no more.
  Result<> HideEntry(const std::string& name);
  Result<> HideContents(const std::string& name);

  // kInvalid unless `name` is a folder, no link, after this; made if there is nothing.
  Result<> RequireDirectory(const std::string& name);
  // Whether something is there; a link counts.
  bool Has(const std::string& name) const;

  uint32_t entries() const { return entries_; }

 private:
  struct Place {
    UniqueFd parent;
    std::string leaf;
  };
  // The folder that holds `name`, made where it is missing.
  Result<Place> Locate(const std::string& name);
  void Mark(std::string name);
  Result<> CountOne(const std::string& name);
  Result<> Remove(int parent, const std::string& leaf, uint32_t depth);
  Result<> ForEach(int folder, const std::function<Result<>(const std::string&)>& each) const;

  int root_;
  uint32_t max_entries_;
  uint32_t entries_ = 0;
  std::unordered_set<std::string> made_;  // by this layer
};

}  // namespace spore::unpack
