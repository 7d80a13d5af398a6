// What a session has in /tmp and /dev/shm, copied: into another session's, into a checkpoint, or
// out of one.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <string>
#include <vector>

#include "sandbox/sys/result.h"
#include "sandbox/sys/unique_fd.h"

namespace spore {

struct FilesOrder {
  struct Folder {
    int from = -1, to = -1;  // opened for reading
    std::string name;        // "/tmp", for messages
  };
  std::vector<Folder> folders;
  uid_t owner = 0;                   // of the copies, as the host sees it
  std::vector<std::string> cgroups;  // who is charged for them
  std::chrono::milliseconds limit{25'000};
};

// By a process of its own, within those cgroups, which is ended when it takes longer than the limit
// (kOverloaded): a session may have little of a processor, and much to copy. What is in the
// folders: folders, files (holes and hard links too), symbolic links and fifos, with mode and
// times; not sockets, whose other end would be elsewhere. Names are the tenant's: each is looked up
// in a folder that is held open, and never followed.
Result<> CopyFiles(const FilesOrder& order);

// The same in parts: what comes before the first file, the files, and what came of it.
class FilesCopy {
 public:
  static Result<FilesCopy> Begin(const FilesOrder& order);
  ~FilesCopy();  // ends it, if it was not waited for
  FilesCopy(FilesCopy&& other) noexcept;
  FilesCopy& operator=(FilesCopy&&) = delete;

  void Go();
  Result<> Await();  // once

 private:
  FilesCopy() = default;
  pid_t pid_ = 0;
  UniqueFd go_, told_;
  std::chrono::milliseconds limit_{};
};

// A folder of the sandbox that the process is in: "/tmp" or "/dev/shm", mounts where nobody in it
// can change what leads there.
Result<UniqueFd> OpenPlace(pid_t pid, const char* place);

}  // namespace spore
