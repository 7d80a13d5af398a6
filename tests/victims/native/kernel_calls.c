// The calls that reach into the kernel, made from a program of the tenant's own after an exec: the
// filter must have come along.
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>

#include "report.h"

static char page[4096];

static int Ptrace(void) { return Outcome(ptrace(PTRACE_TRACEME, 0, 0, 0)); }
static int Attach(void) { return Outcome(ptrace(PTRACE_ATTACH, 1, 0, 0)); }
static int Bpf(void) { return Outcome(syscall(SYS_bpf, 0, page, 72)); }
static int IoUring(void) { return Outcome(syscall(SYS_io_uring_setup, 4, page)); }
static int IoUringEnter(void) { return Outcome(syscall(SYS_io_uring_enter, 0, 0, 0, 0, 0)); }
static int Userfault(void) { return Outcome(syscall(SYS_userfaultfd, 1)); }
static int Perf(void) { return Outcome(syscall(SYS_perf_event_open, page, 0, -1, -1, 0)); }
static int Keyctl(void) { return Outcome(syscall(SYS_keyctl, 0, -3, 1)); }
static int AddKey(void) { return Outcome(syscall(SYS_add_key, "user", "x", "y", 1, -3)); }
static int Unshare(void) { return Outcome(unshare(CLONE_NEWUSER)); }
static int Setns(void) { return Outcome(setns(open("/proc/self/ns/net", O_RDONLY), 0)); }
static int Mount(void) { return Outcome(mount("none", "/tmp", "tmpfs", 0, 0)); }
static int Chroot(void) { return Outcome(chroot("/tmp")); }
static int InitModule(void) { return Outcome(syscall(SYS_init_module, page, 4096, "")); }
static int Type(void) { return Outcome(ioctl(0, TIOCSTI, "x")); }
static int Setuid(void) { return Outcome(syscall(SYS_setuid, 0)); }
static int Seccomp(void) { return Outcome(syscall(SYS_seccomp, 0xFF, 0, page)); }

int main(void) {
  Report("ptrace-traceme", Ptrace);
  Report("ptrace-attach", Attach);
  Report("bpf", Bpf);
  Report("io-uring-setup", IoUring);
  Report("io-uring-enter", IoUringEnter);
  Report("userfaultfd", Userfault);
  Report("perf-event-open", Perf);
  Report("keyctl", Keyctl);
  Report("add-key", AddKey);
  Report("unshare-user", Unshare);
  Report("setns", Setns);
  Report("mount", Mount);
  Report("chroot", Chroot);
  Report("init-module", InitModule);
  Report("tiocsti", Type);
  Report("setuid", Setuid);
  Report("seccomp", Seccomp);
  return 0;
}
