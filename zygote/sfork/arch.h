// What libsfork needs of a processor: a raw system call, a thread on a given stack, a signal
// return, and the registers of an interrupted system call. One arch_*.cc for each; meson.build
// chooses.
#pragma once

#include <ucontext.h>

#include <cstdint>
#include <span>

namespace spore::arch {

// The kernel's own result: -errno on failure. Never touches errno, which belongs to the thread that
// a signal interrupted. No cancellation point.
long RawSyscall(long number, long a = 0, long b = 0, long c = 0, long d = 0, long e = 0,
                long f = 0);

// clone(2) with CLONE_SETTLS: the new thread runs entry(argument) on `stack` (16-byte aligned,
// grows down) and never returns from it. In the caller the new thread's id or -errno.
extern "C" long SporeSforkCloneThread(uint64_t flags, void* stack, int32_t* parent_tid,
                                      int32_t* child_tid, uintptr_t thread_pointer,
                                      void (*entry)(const void*), const void* argument);

// rt_sigreturn(2) to what `context`, the third argument of a handler with SA_SIGINFO, describes.
// The frame around it must still be as the kernel wrote it.
extern "C" [[noreturn]] void SporeSforkSignalReturn(const ucontext_t* context);

// The address that a handler returns to, for the SA_RESTORER of rt_sigaction(2); 0 where the kernel
// brings its own (in the vDSO).
uintptr_t SignalRestorer();

// The program counter, stack pointer and system call result of an interrupted thread.
uintptr_t InstructionPointer(const ucontext_t& context);
uintptr_t StackPointer(const ucontext_t& context);
long CallResult(const ucontext_t& context);
// All general registers, in any order.
std::span<const uintptr_t> Registers(const ucontext_t& context);
// True: the kernel has already set the thread back to make the call `number`, whose instruction
// ends at `after`, again.
bool IsSetBack(const ucontext_t& context, long number, uintptr_t after);
// Does the same for a call that ended with EINTR. Argument registers are as they were: the kernel
// preserves them.
void SetBack(ucontext_t& context, long number, uintptr_t after, uint64_t first_argument);

// Registers of the calling thread that neither CLONE_SETTLS nor a signal frame restores. False when
// one is in use (x86-64: the base of GS).
bool HasPlainRegisters();

}  // namespace spore::arch
