// Everything that a restore has left in a session's cgroup, held from outside.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "sandbox/sys/result.h"
#include "zygote/branch/tracee.h"
#include "zygote/checkpoint/session_cgroup.h"

namespace spore {

struct RestoredProcess {
  pid_t pid = 0;
  std::vector<Tracee> threads;
};

class RestoredProcesses {
 public:
  // Whatever is in the cgroup now is none of them.
  static Result<RestoredProcesses> Begin(const std::vector<std::string>& cgroups);
  ~RestoredProcesses();  // kills them, unless they were let go
  RestoredProcesses(RestoredProcesses&& other) noexcept;
  RestoredProcesses& operator=(RestoredProcesses&&) = delete;

  // Each thread of each, until LetGo: they are listed while none can move. Should this process end,
  // they are killed.
  Result<> Hold();
  std::vector<RestoredProcess>& held() { return held_; }
  // No descriptors above these, whatever limit they brought along.
  Result<> LimitFiles(uint64_t open_files) const;
  // They stay stopped, as CRIU has left them, until they are continued.
  Result<> LetGo();
  // But for those that have one of these numbers inside, which were stopped by themselves.
  Result<> Continue(const std::vector<pid_t>& stopped);

 private:
  struct LetGoProcess {
    pid_t pid, number;  // the latter is what it is called inside
  };
  explicit RestoredProcesses(SessionCgroup cgroup) : cgroup_(std::move(cgroup)) {}
  Result<> SeizeAll();
  Result<std::vector<pid_t>> List() const;
  void KillAll();

  std::optional<SessionCgroup> cgroup_;          // none: nothing is to be killed any more
  std::set<std::pair<pid_t, uint64_t>> others_;  // with when each began: numbers are used again
  std::vector<RestoredProcess> held_;
  std::vector<LetGoProcess> let_go_;
};

}  // namespace spore
