// The fresh interpreter of a branch, which becomes a copy of the source's.
//
// It stands in a sandbox of its own, confined by the same steps as every other, and waits for its
// first piece of code. From here on it is held; should this process end, it is killed.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "sandbox/sys/unique_fd.h"
#include "zygote/branch/hands.h"
#include "zygote/branch/source_process.h"
#include "zygote/branch/workbench.h"

namespace spore {

class TargetProcess {
 public:
  // The child of the agent that is `number` in its pid namespace, when it waits.
  static Result<TargetProcess> Hold(pid_t agent, int agent_pidfd, pid_t number,
                                    const BranchOptions::Target& options);
  ~TargetProcess();  // kills it, unless it was let go
  TargetProcess(TargetProcess&&) = default;
  TargetProcess& operator=(TargetProcess&&) = delete;

  // In this order. Gives how many bytes were copied.
  Result<uint64_t> TakeMemory(const SourceProcess& source);
  CopyTarget DescriptorTarget() { return {bench_.get(), pidfd_.get(), &options_->cgroups}; }
  Result<> TakeState(const SourceProcess& source);
  Result<> TakeThreads(const SourceProcess& source);
  // That it is as confined as a fresh one, and in no namespace of the source's.
  Result<> CheckConfined(const SourceProcess& source) const;
  Result<> LetGo();
  bool Lives() const;

 private:
  TargetProcess() = default;
  Result<> Stop();
  Result<Tracee> MakeThread(const ThreadState& state);

  const BranchOptions::Target* options_ = nullptr;
  int agent_pidfd_ = -1;
  pid_t pid_ = 0;
  UniqueFd pidfd_;
  uintptr_t instruction_ = 0;
  std::vector<Mapping> mappings_;  // those that it was held with
  std::vector<Tracee> threads_;    // the first one; the others once they are made
  std::unique_ptr<Workbench> bench_;
  std::optional<Hands> hands_;
};

}  // namespace spore
