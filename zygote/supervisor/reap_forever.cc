#include "zygote/supervisor/reap_forever.h"

#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#if __has_include(<sys/rseq.h>)
#include <sys/rseq.h>
#endif

#include <cstdint>

namespace spore {
namespace {

[[noreturn]] void ReapWithLibrary() {
  sigset_t child_died;
  sigemptyset(&child_died);
  sigaddset(&child_died, SIGCHLD);
  for (;;) {
    while (waitpid(-1, nullptr, WNOHANG | __WALL) > 0) {
    }
    int signal_number;
    sigwait(&child_died, &signal_number);
  }
}

#if defined(__x86_64__) && defined(RSEQ_SIG)

// One page of code, which needs no stack: unmaps what is below it and above it, then reaps. The
// set of SIGCHLD, which rt_sigtimedwait reads, lies beside it.
asm(R"(
  .pushsection .text.spore_reap, "ax", @progbits
  .balign 4096
  .globl spore_reap_page
  .hidden spore_reap_page
spore_reap_page:
  lea spore_reap_page(%rip), %rbx
  xor %edi, %edi
  mov %rbx, %rsi
  mov $11, %eax             # munmap(0, page)
  syscall
  lea 4096(%rbx), %rdi
  movabs $0x7ffffffff000, %rsi
  sub %rdi, %rsi
  mov $11, %eax             # munmap(page + 4096, the rest)
  syscall
1:
  mov $-1, %rdi
  xor %esi, %esi
  mov $0x40000001, %edx     # WNOHANG | __WALL
  xor %r10d, %r10d
  mov $61, %eax             # wait4
  syscall
  test %rax, %rax
  jg 1b
  lea 2f(%rip), %rdi
  xor %esi, %esi
  xor %edx, %edx
  mov $8, %r10d
  mov $128, %eax            # rt_sigtimedwait
  syscall
  jmp 1b
  .balign 8
2:
  .quad 0x10000             # SIGCHLD, number 17
  .balign 4096
  .popsection
)");
extern "C" [[noreturn]] void spore_reap_page();

// The kernel writes to what is registered for restartable sequences each time it lets us run.
bool UnregisterRseq() {
  if (__rseq_size == 0) return true;
  constexpr unsigned kSmallest = 32;
  const unsigned bytes = __rseq_size < kSmallest ? kSmallest : __rseq_size;
  auto* const area = static_cast<char*>(__builtin_thread_pointer()) + __rseq_offset;
  constexpr int kUnregister = 1;
  return syscall(SYS_rseq, area, bytes, kUnregister, RSEQ_SIG) == 0;
}

#endif

}  // namespace

bool PrepareToReap() {
#if defined(__x86_64__) && defined(RSEQ_SIG)
  return UnregisterRseq();
#else
  return false;
#endif
}

void ReapForever(bool prepared) {
#if defined(__x86_64__) && defined(RSEQ_SIG)
  if (prepared) spore_reap_page();
#endif
  static_cast<void>(prepared);
  ReapWithLibrary();
}

}  // namespace spore
