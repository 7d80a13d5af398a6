// Makes calls through the other system call tables of x86-64, which a filter that looks at numbers
// alone would mistake for harmless ones: x32 (bit 30 set) and i386 (int 0x80).
#define _GNU_SOURCE
#include <sys/syscall.h>

#include "report.h"

#define X32 0x40000000L

static long Int80(long number, long a, long b, long c) {
  long result;
  __asm__ volatile("int $0x80"
                   : "=a"(result)
                   : "a"(number), "b"(a), "c"(b), "d"(c)
                   : "memory", "r8", "r9", "r10", "r11");
  return result;
}

static int X32Getpid(void) { return Outcome(syscall(X32 | SYS_getpid)); }
static int X32Ptrace(void) { return Outcome(syscall(X32 | 521, 0, 0, 0, 0)); }
static int X32Unshare(void) { return Outcome(syscall(X32 | SYS_unshare, 0x10000000)); }
static int X32Mount(void) { return Outcome(syscall(X32 | SYS_mount, 0, "/", 0, 32 | 4096, 0)); }
static int I386Getpid(void) { return Outcome(Int80(20, 0, 0, 0)); }
static int I386Unshare(void) { return Outcome(Int80(310, 0x10000000, 0, 0)); }
static int I386Ptrace(void) { return Outcome(Int80(26, 0, 0, 0)); }
// In the i386 table 41 is dup, in ours socket: a number both filters would allow.
static int I386Socketcall(void) { return Outcome(Int80(102, 1, 0, 0)); }

int main(void) {
  Report("x32-getpid", X32Getpid);
  Report("x32-ptrace", X32Ptrace);
  Report("x32-unshare", X32Unshare);
  Report("x32-mount", X32Mount);
  Report("i386-getpid", I386Getpid);
  Report("i386-unshare", I386Unshare);
  Report("i386-ptrace", I386Ptrace);
  Report("i386-socketcall", I386Socketcall);
  return 0;
}
