// What CRIU needs in a session's namespaces, there while the session is held (workplace.h).
#pragma once

#include <sys/types.h>

#include <string>
#include <utility>
#include <vector>

#include "sandbox/sys/result.h"
#include "zygote/checkpoint/child_process.h"
#include "zygote/checkpoint/workplace.h"

namespace spore {

// Kept by a process in those namespaces, which ends with the caller.
class SessionRoom {
 public:
  struct Parts {
    int session = -1;  // the pidfd of a process in it
    WorkplaceParts workplace;
    std::string image_mounts;     // foreign_mounts.h
    std::vector<pid_t> shown_by;  // likewise
  };
  static Result<SessionRoom> Open(const Parts& parts);
  ~SessionRoom();
  SessionRoom(SessionRoom&&) noexcept = default;
  SessionRoom& operator=(SessionRoom&&) = delete;

  // Nothing of it is left, or the error says that something is.
  Result<> Close();

 private:
  explicit SessionRoom(ChildProcess keeper) : keeper_(std::move(keeper)) {}
  ChildProcess keeper_;
};

}  // namespace spore
