// Writes an archive's entries below one directory, and nowhere else.
//
// Two independent guards: the list of what was made so far refuses conflicting entries, and every
// path is resolved by the kernel with RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS (openat2(2)), so that
// no ".." and no link, whoever made it, leads out.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "daemon/unpack/entry_name.h"
#include "sandbox/sys/result.h"
#include "sandbox/sys/unique_fd.h"

namespace spore::unpack {

// Names are clean (CleanEntryName). An error of the archive is kInvalid; others are ours.
class TreeWriter {
 public:
  TreeWriter(int root, uint32_t max_files) : root_(root), max_files_(max_files) {}

  Result<> AddDirectory(const std::string& name);
  // Creates a file for writing, mode 0755 or 0644.
  Result<UniqueFd> AddFile(const std::string& name, bool executable);
  Result<> AddSymlink(const std::string& name, const std::string& target);
  // Opens an earlier regular file of the archive for reading; `link` is the entry that names it.
  Result<UniqueFd> OpenFile(const std::string& name, const std::string& link, bool* executable);
  // Once all entries are there: refuses links that lead out of the root by way of other links.
  Result<> CheckSymlinks() const;

  uint32_t files() const { return static_cast<uint32_t>(made_.size()); }

 private:
  enum class Kind { kDirectory, kFile, kExecutable, kSymlink };

  // Sees that the folders above a new entry exist and that its name is free.
  Result<> Prepare(const std::string& name);
  // Prepares, and enters the name into the list.
  Result<> Claim(const std::string& name, Kind kind);
  Result<> MakeDirectory(const std::string& name);
  Result<> CountOne(const std::string& name) const;
  // The open folder that holds `name`; valid until the next call.
  Result<int> Parent(const std::string& name);

  int root_;
  uint32_t max_files_;
  std::unordered_map<std::string, Kind> made_;
  std::string parent_name_;
  UniqueFd parent_;
};

}  // namespace spore::unpack
