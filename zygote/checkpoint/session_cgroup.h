// The cgroup of a session: stops what is in it, and says what that is.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "sandbox/sys/result.h"
#include "sandbox/sys/unique_fd.h"

namespace spore {

class SessionCgroup {
 public:
  // That of the session's cgroups which can be frozen. It is held open: the caller may go into
  // another mount namespace.
  static Result<SessionCgroup> Open(const std::vector<std::string>& paths);

  // Nothing in it runs a step of its own when this has returned. What is in the middle of vfork(2)
  // counts as frozen. kOverloaded: not within this time.
  static constexpr uint64_t kFreezeLimitNs = 2'000'000'000;
  Result<> Freeze(uint64_t limit_ns = kFreezeLimitNs) const;
  // Who freezes in the middle of something else need not wait.
  Result<> BeginToFreeze() const;
  Result<> Thaw() const;
  // Its processes as they are called in the caller's pid namespace; those of others are left out.
  Result<std::vector<pid_t>> Processes() const;

 private:
  explicit SessionCgroup(UniqueFd folder) : folder_(std::move(folder)) {}
  Result<> Write(const char* value) const;

  UniqueFd folder_;
};

}  // namespace spore
