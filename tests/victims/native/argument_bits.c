// Hides a refused argument from a filter by setting bits that the kernel ignores, or by moving it to
// where a filter cannot look (clone3 takes its flags in memory).
#define _GNU_SOURCE
#include <linux/sched.h>
#include <signal.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "report.h"

#define HIGH (1UL << 32)

static int SocketHighBits(void) { return Outcome(syscall(SYS_socket, AF_INET | HIGH, SOCK_STREAM, 0)); }
static int PacketHighBits(void) {
  return Outcome(syscall(SYS_socket, AF_PACKET | HIGH, SOCK_RAW | SOCK_CLOEXEC, 0));
}
static int SocketpairInet(void) {
  int pair[2];
  return Outcome(syscall(SYS_socketpair, AF_INET | HIGH, SOCK_STREAM, 0, pair));
}
static int LeaveOrOutcome(long result) {
  if (result == 0) _exit(0);  // the new process itself
  return Outcome(result);
}
static int CloneUser(void) {
  return LeaveOrOutcome(syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD | HIGH, 0, 0, 0, 0));
}
static int CloneNet(void) {
  return LeaveOrOutcome(syscall(SYS_clone, CLONE_NEWUSER | CLONE_NEWNET | SIGCHLD, 0, 0, 0, 0));
}
static int Clone3User(void) {
  struct clone_args arguments = {.flags = CLONE_NEWUSER, .exit_signal = SIGCHLD};
  return LeaveOrOutcome(syscall(SYS_clone3, &arguments, sizeof arguments));
}
static int Clone3IntoCgroup(void) {
  struct clone_args arguments = {
      .flags = CLONE_INTO_CGROUP, .exit_signal = SIGCHLD, .cgroup = (uint64_t)3};
  return LeaveOrOutcome(syscall(SYS_clone3, &arguments, sizeof arguments));
}
static int CloneParent(void) {
  long result = syscall(SYS_clone, CLONE_PARENT | SIGCHLD, 0, 0, 0, 0);
  return LeaveOrOutcome(result);
}
static int CloneVforkUser(void) {
  return LeaveOrOutcome(
      syscall(SYS_clone, CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | SIGCHLD, 0, 0, 0, 0));
}

int main(int argc, char** argv) {
  (void)argv;
  Report("socket-high-bits", SocketHighBits);
  Report("packet-high-bits", PacketHighBits);
  Report("socketpair-inet", SocketpairInet);
  Report("clone-user-high-bits", CloneUser);
  Report("clone-net", CloneNet);
  Report("clone3-user", Clone3User);
  Report("clone3-into-cgroup", Clone3IntoCgroup);
  Report("clone-user-mount-pid", CloneVforkUser);
  if (argc > 1) Report("clone-parent", CloneParent);
  return 0;
}
