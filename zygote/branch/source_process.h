// The interpreter that is branched: found, stopped with all its threads, looked at, let go.
#pragma once

#include <sys/types.h>

#include <memory>
#include <string>
#include <vector>

#include "sandbox/sys/unique_fd.h"
#include "zygote/branch/branch_options.h"
#include "zygote/branch/copy_descriptors.h"
#include "zygote/branch/process_maps.h"
#include "zygote/branch/thread_state.h"

namespace spore {

// What of a process is not memory, a thread's or a descriptor's.
struct ProcessState {
  std::string working_directory;
  unsigned umask = 022;
  std::vector<NumberedAction> actions;
};

class SourceProcess {
 public:
  // The child of the agent that is `number` in its pid namespace.
  static Result<SourceProcess> Find(pid_t agent, pid_t number);

  // Stops it when nothing is on its way between it and its agent.
  Result<> Stop(bool running);
  void LetGo();
  bool Lives() const;

  // When it has stopped. An error says what of it cannot be copied.
  Result<> Note();

  pid_t pid() const { return pid_; }
  pid_t agent() const { return agent_; }
  int pidfd() const { return pidfd_.get(); }
  const RemoteMemory& memory() const { return *memory_; }
  const std::vector<Mapping>& mappings() const { return mappings_; }
  const std::vector<ThreadState>& threads() const { return thread_states_; }  // the first first
  const std::vector<OpenDescriptor>& descriptors() const { return descriptors_; }
  const ProcessState& state() const { return state_; }
  uintptr_t instruction() const { return instruction_; }

 private:
  SourceProcess() = default;
  Result<> StopOnce();
  Result<bool> IsQuiet(bool running) const;

  pid_t pid_ = 0, agent_ = 0;
  UniqueFd pidfd_;
  std::vector<Tracee> threads_;
  std::unique_ptr<RemoteMemory> memory_;
  uintptr_t instruction_ = 0;
  std::vector<Mapping> mappings_;
  std::vector<ThreadState> thread_states_;
  std::vector<OpenDescriptor> descriptors_;
  ProcessState state_;
};

// That nothing runs in the source beside its agent and its interpreter (0: it has none), unless
// that is to be left out. The error names it.
Result<> CheckAlone(const BranchOptions& options, pid_t agent, pid_t interpreter);
// The child of `parent` that has this number in its pid namespace; 0: there is none.
pid_t FindChild(pid_t parent, pid_t number);
// Its threads, the first first.
Result<std::vector<pid_t>> ThreadsOf(pid_t pid);

}  // namespace spore
