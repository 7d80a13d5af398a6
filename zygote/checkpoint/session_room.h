// What CRIU needs in a session's namespaces, there while the session is held (workplace.h).
#pragma once

#include <sys/types.h>

#include "sandbox/sys/result.h"
#include "sandbox/sys/unique_fd.h"
#include "zygote/checkpoint/workplace.h"

namespace spore {

// Kept by a process in those namespaces, which ends with the caller.
class SessionRoom {
 public:
  // `session`: the pidfd of a process in it.
  static Result<SessionRoom> Open(int session, const WorkplaceParts& parts);
  ~SessionRoom();
  SessionRoom(SessionRoom&& other) noexcept;
  SessionRoom& operator=(SessionRoom&&) = delete;

  // Nothing of it is left, or the error says that something is.
  Result<> Close();

 private:
  SessionRoom() = default;
  Result<> AwaitWord() const;
  UniqueFd socket_;
  pid_t pid_ = 0;
};

}  // namespace spore
