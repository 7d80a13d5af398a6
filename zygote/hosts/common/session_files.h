// Files of a session, for those outside: by system calls that wait for nobody.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "sandbox/sys/unique_fd.h"
#include "zygote/session_protocol.h"

namespace spore {

// The body of the answer to any ask about files that is done at once; nothing when it is none.
std::optional<std::string> ServeFile(session::Reader& ask);

// A folder, removed with all below it, a bounded piece at a time. No link is followed.
class TreeRemoval {
 public:
  explicit TreeRemoval(const std::string& path);
  // The body of the answer when it is done, or cannot be.
  std::optional<std::string> Step();

 private:
  struct Level {
    UniqueFd folder;
    std::string name;  // below the level above
  };
  std::optional<std::string> Fail(int error) const;
  bool Descend(const char* name);

  std::string parent_, name_;
  UniqueFd parent_folder_;
  std::vector<Level> levels_;
  uint64_t removed_ = 0;
  int error_ = 0;
};

// kRemoveFile of one file or empty folder. Nothing: it is a folder, to be removed as a tree.
std::optional<std::string> RemoveOne(session::Reader& ask);

session::Writer FileEntry(int folder, const char* name, bool follow, bool* there);

}  // namespace spore
