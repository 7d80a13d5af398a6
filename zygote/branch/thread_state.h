// What belongs to one thread beside the memory of its process.
#pragma once

#include <signal.h>
#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "zygote/branch/tracee.h"
#include "zygote/branch/workbench.h"

namespace spore {

struct ThreadState {
  pid_t number = 0;  // in its own pid namespace
  std::string name;
  ThreadRegisters registers;
  uintptr_t robust_list = 0;
  size_t robust_bytes = 0;
  uintptr_t tid_address = 0;  // set_tid_address(2)
  stack_t signal_stack{};
  uint64_t rseq = 0;  // 0: none is registered
  uint32_t rseq_bytes = 0, rseq_signature = 0, rseq_flags = 0;
};

// What the kernel knows of a signal's handling: struct sigaction of its own interface.
struct SignalAction {
  uint64_t handler = 0, flags = 0, restorer = 0, mask = 0;
};
struct NumberedAction {
  int signal = 0;
  SignalAction action;
};

// What only the process itself is told: asked of it, in its own stead. It is stopped, and goes on
// as if nothing had been; should this process end in the middle, it is killed (PTRACE_O_EXITKILL).
class SourceThread {
 public:
  SourceThread(Tracee& thread, const RemoteMemory& memory, uintptr_t instruction)
      : thread_(thread), memory_(memory), instruction_(instruction) {}
  Result<ThreadState> Note();
  // For the signals in `mask`; of a process's first thread.
  Result<std::vector<NumberedAction>> NoteActions(uint64_t mask);

 private:
  template <typename Asked>
  Result<> Ask(Asked asked);

  Tracee& thread_;
  const RemoteMemory& memory_;
  uintptr_t instruction_;
};

// In a copy: that what it is told is as it was, when its registers are.
// `registered`: the kernel knows a robust list and rseq of it already, those of the same place.
Result<> SetUpThread(const ThreadState& state, Tracee& thread, const Workbench& bench,
                     bool registered);
Result<> SetActions(const std::vector<NumberedAction>& actions, const Workbench& bench);
// The registers that a thread goes on with elsewhere: what it was waiting for begins again.
ThreadRegisters RegistersForCopy(const ThreadRegisters& registers);

// /proc/PID/status, at one moment. Empty: it has ended.
class Status {
 public:
  explicit Status(pid_t pid);
  // One line, without its name.
  std::string Line(std::string_view name) const;
  uint64_t Mask(std::string_view name) const;

 private:
  std::string text_;
};

std::string StatusLine(pid_t pid, std::string_view name);
// The last of NSpid: what it is called in its own pid namespace. 0: it has ended.
pid_t NumberInside(pid_t pid);

}  // namespace spore
