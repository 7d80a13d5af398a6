// One thread of another process, held from outside (ptrace(2)): looked at, and made to carry out
// system calls.
//
// Nothing of its own code runs meanwhile, and nothing that it has in memory is believed: what it
// executes is one `syscall` instruction of the kernel's own vdso(7) page.
#pragma once

#include <signal.h>
#include <sys/types.h>
#include <sys/user.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "sandbox/sys/result.h"
#include "zygote/branch/process_maps.h"

namespace spore {

// What of a thread the kernel gives and takes whole.
struct ThreadRegisters {
  user_regs_struct general{};
  std::vector<char> extended;  // NT_X86_XSTATE
  uint64_t signal_mask = 0;
};

class Tracee {
 public:
  // Begins to hold the thread, which stops soon: AwaitStop. `options`: PTRACE_O_*.
  static Result<Tracee> Seize(pid_t tid, long options);
  // A thread that the kernel has attached by itself (PTRACE_O_TRACECLONE).
  static Tracee Adopted(pid_t tid) { return Tracee(tid); }
  ~Tracee();  // lets it go, as it was before
  Tracee(Tracee&& other) noexcept;
  Tracee& operator=(Tracee&& other) noexcept;

  // kNotFound: it has ended.
  Result<> AwaitStop();
  Result<> SetOptions(long options);
  pid_t tid() const { return tid_; }

  Result<ThreadRegisters> Read() const;
  Result<> Write(const ThreadRegisters& registers);

  // Between Begin and End calls can be made; End puts back what Begin found. `instruction` is where
  // a `syscall` lies.
  Result<> Begin(uintptr_t instruction);
  Result<> End();
  // Ends them, too, and gives it other registers than it had.
  Result<> Become(const ThreadRegisters& registers);
  // What the kernel gave: a value, or -errno.
  Result<int64_t> Call(long number, uint64_t a = 0, uint64_t b = 0, uint64_t c = 0, uint64_t d = 0,
                       uint64_t e = 0, uint64_t f = 0);
  // The same; -errno is an error of `what`.
  Result<uint64_t> Make(const char* what, long number, uint64_t a = 0, uint64_t b = 0,
                        uint64_t c = 0, uint64_t d = 0, uint64_t e = 0, uint64_t f = 0);
  // The child or thread that the last call has made, in our pid namespace; 0: none.
  pid_t born() const { return born_; }
  // It stays held, by nobody but this process.
  pid_t Keep() { return std::exchange(tid_, 0); }
  // Lets it go now. Its registers are what they are.
  Result<> LetGo();

 private:
  explicit Tracee(pid_t tid) : tid_(tid) {}

  void NoteSignal(int signal);

  pid_t tid_ = 0;  // 0: not held any more
  pid_t born_ = 0;
  int signal_ = 0;             // that it was about to take, and is given when it goes on
  siginfo_t info_{};           // of that
  bool takes_signal_ = false;  // as it stands: ptrace(2)'s signal-delivery-stop
  uintptr_t instruction_ = 0;
  bool stopped_ = false;
  user_regs_struct saved_{};
  uint64_t saved_mask_ = 0;
};

// Where a `syscall` instruction lies in the vdso of a process. kPrecondition: it has none any more.
Result<uintptr_t> FindSyscallInstruction(pid_t pid);
Result<uintptr_t> FindSyscallInstruction(pid_t pid, const std::vector<Mapping>& maps);

}  // namespace spore
