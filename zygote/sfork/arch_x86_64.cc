#include <asm/prctl.h>
#include <sys/syscall.h>

#include "zygote/sfork/arch.h"

#if !defined(__x86_64__) || defined(__ILP32__)
#error "this is libsfork's part for x86-64"
#endif

// long SporeSforkCloneThread(flags, stack, parent_tid, child_tid, thread_pointer, entry, argument)
//   C gives      rdi    rsi    rdx         rcx        r8              r9     8(%rsp)
//   clone takes  rdi    rsi    rdx         r10        r8
// The kernel preserves all but rax, rcx and r11, so the new thread finds entry in r9 and what was
// put into r12 before. rbp = 0 marks its outermost frame; `call` leaves the stack as the ABI wants
// it.
asm(R"(
  .text
  .globl SporeSforkCloneThread
  .hidden SporeSforkCloneThread
  .type SporeSforkCloneThread, @function
SporeSforkCloneThread:
  .cfi_startproc
  push %r12
  .cfi_adjust_cfa_offset 8
  .cfi_rel_offset %r12, 0
  mov 16(%rsp), %r12
  mov %rcx, %r10
  mov $56, %eax
  syscall
  test %rax, %rax
  jz 1f
  pop %r12
  .cfi_adjust_cfa_offset -8
  .cfi_restore %r12
  ret
1:
  .cfi_undefined %rip
  xor %ebp, %ebp
  mov %r12, %rdi
  call *%r9
  ud2
  .cfi_endproc
  .size SporeSforkCloneThread, .-SporeSforkCloneThread

  .globl SporeSforkSignalReturn
  .hidden SporeSforkSignalReturn
  .type SporeSforkSignalReturn, @function
SporeSforkSignalReturn:
  # The frame begins with the return address, which a returning handler has popped by now: the kernel
  # expects the stack pointer behind it, where the ucontext is.
  mov %rdi, %rsp
  mov $15, %eax
  syscall
  ud2
  .size SporeSforkSignalReturn, .-SporeSforkSignalReturn

  .globl SporeSforkRestorer
  .hidden SporeSforkRestorer
  .type SporeSforkRestorer, @function
  # Debuggers know a signal frame by exactly these instructions.
SporeSforkRestorer:
  mov $15, %rax
  syscall
  .size SporeSforkRestorer, .-SporeSforkRestorer
)");

extern "C" void SporeSforkRestorer();

namespace spore::arch {
namespace {

constexpr uintptr_t kSyscallInstruction = 2;  // 0f 05

}  // namespace

long RawSyscall(long number, long a, long b, long c, long d, long e, long f) {
  register long r10 asm("r10") = d;
  register long r8 asm("r8") = e;
  register long r9 asm("r9") = f;
  long result = number;
  asm volatile("syscall"
               : "+a"(result)
               : "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
               : "rcx", "r11", "memory");
  return result;
}

uintptr_t SignalRestorer() {
  return reinterpret_cast<uintptr_t>(&SporeSforkRestorer);
}

uintptr_t InstructionPointer(const ucontext_t& context) {
  return static_cast<uintptr_t>(context.uc_mcontext.gregs[REG_RIP]);
}
uintptr_t StackPointer(const ucontext_t& context) {
  return static_cast<uintptr_t>(context.uc_mcontext.gregs[REG_RSP]);
}
long CallResult(const ucontext_t& context) {
  return static_cast<long>(context.uc_mcontext.gregs[REG_RAX]);
}
std::span<const uintptr_t> Registers(const ucontext_t& context) {
  static_assert(sizeof context.uc_mcontext.gregs[0] == sizeof(uintptr_t));
  return {reinterpret_cast<const uintptr_t*>(context.uc_mcontext.gregs), REG_RIP};
}

bool IsSetBack(const ucontext_t& context, long number, uintptr_t after) {
  return InstructionPointer(context) == after - kSyscallInstruction &&
         CallResult(context) == number;
}

// The first argument's register is another than the result's here.
void SetBack(ucontext_t& context, long number, uintptr_t after, uint64_t) {
  context.uc_mcontext.gregs[REG_RIP] = static_cast<greg_t>(after - kSyscallInstruction);
  context.uc_mcontext.gregs[REG_RAX] = number;
}

bool HasPlainRegisters() {
  unsigned long gs = 0;
  return RawSyscall(SYS_arch_prctl, ARCH_GET_GS, reinterpret_cast<long>(&gs)) == 0 && gs == 0;
}

}  // namespace spore::arch
