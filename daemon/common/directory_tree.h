// Directory trees on disk, of functions and images: taking over what the unpack worker left,
// copying by hard link, removing. Nothing here follows a symbolic link, whatever the tree holds.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "sandbox/sys/result.h"
#include "sandbox/sys/unique_fd.h"

namespace spore {

struct TreeFacts {
  uint64_t bytes = 0;  // of regular files
  uint64_t entries = 0;
};

struct TakeOverOptions {
  uid_t owner = 0;  // whom everything must belong to
  uint64_t max_bytes = 0;
  uint64_t max_entries = 0;
  uint32_t max_depth = 0;
  bool sync = false;  // fsync every file and folder
  // Of modes, what others than the owner may do stays as it is found (an image's root).
  bool keep_modes = false;
};

// Gives the tree below `directory` to root, files 0644 or 0755 and folders 0755. The worker that
// made it may have been taken over by the archive, so everything is checked again: only files with
// a single link, folders and symbolic links, all of the owner, within the limits; anything else is
// an error. (Root's, so that a later worker, which runs under the same uid, has no power over it.)
Result<TreeFacts> TakeOverTree(int directory, const TakeOverOptions& options);

// Copies the tree below `from` into the empty `to`: new folders, hard links to the same files.
Result<> LinkTree(int from, int to, bool sync);

// Removes `parent`/`name`, a file or a tree of any depth; what does not exist is no error.
Result<> RemoveTree(int parent, const std::string& name);

// All names in a folder at once, so that it may be changed while they are gone through.
Result<std::vector<std::string>> EntryNames(int directory);
// A whole file; one of more than `max_bytes` is an error.
Result<std::string> ReadSmallFile(int parent, const std::string& path, size_t max_bytes);

// open(2) of a folder for reading its entries; never through a symbolic link.
Result<UniqueFd> OpenDirectory(int parent, const std::string& name);
// mkdirat, then open. An existing folder is an error unless `may_exist`.
Result<UniqueFd> MakeDirectory(int parent, const std::string& name, mode_t mode,
                               bool may_exist = false);
Result<> SyncDirectory(int directory, const std::string& name);

}  // namespace spore
