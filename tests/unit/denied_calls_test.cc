// What an image's policy may deny, and what the program made of it refuses.
#include "sandbox/policy/denied_calls.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "sandbox/policy/seccomp_program.h"

namespace spore {
namespace {

std::string ErrorOf(const std::vector<std::string>& names) {
  const auto denied = DeniedCalls::Make(names);
  return denied ? "" : denied.error().Message();
}

// In a child, under the last program with these denied; what `body` returns.
template <typename Body>
int RunDenied(const std::vector<std::string>& names, Body body) {
  const auto denied = DeniedCalls::Make(names);
  EXPECT_TRUE(denied) << ErrorOf(names);
  const auto program = CompileLastProgram(*denied);
  EXPECT_TRUE(program);
  const pid_t child = fork();
  if (child == 0) {
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (LoadSeccompProgram(*program) != 0) _exit(251);
    _exit(body());
  }
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

int ErrnoOf(long result) {
  return result < 0 ? errno : 0;
}

TEST(DeniedCalls, NamesOfCallsAndGroupsAreTakenOnceEach) {
  const auto denied = DeniedCalls::Make(std::vector<std::string>{"exec", "execve", "mknod"});
  ASSERT_TRUE(denied);
  const std::vector<std::string_view> expected{"execve", "execveat", "mknod"};
  EXPECT_TRUE(
      std::equal(denied->calls().begin(), denied->calls().end(), expected.begin(), expected.end()));
  EXPECT_FALSE(denied->processes());
  EXPECT_FALSE(denied->empty());
  EXPECT_TRUE(DeniedCalls().empty());
  EXPECT_TRUE(DeniedCalls::Make({})->empty());
}

TEST(DeniedCalls, EveryGroupCompiles) {
  for (const DeniableGroup& group : DeniableGroups()) {
    const auto denied = DeniedCalls::Make(std::vector<std::string>{std::string(group.name)});
    ASSERT_TRUE(denied) << group.name;
    EXPECT_TRUE(CompileLastProgram(*denied)) << group.name;
  }
}

TEST(DeniedCalls, WhatCannotBeDeniedIsNamed) {
  EXPECT_NE(
      ErrorOf({"exce"}).find("\"exce\" is no system call that tenants may make, and no group; "
                             "groups are exec, fork, sockets"),
      std::string::npos);
  EXPECT_NE(ErrorOf({""}).find("no system call"), std::string::npos);
  EXPECT_NE(ErrorOf({"exec", "read"}).find("\"read\" cannot be denied"), std::string::npos);
  EXPECT_NE(ErrorOf({"clone"}).find("cannot be denied"), std::string::npos);
  EXPECT_NE(ErrorOf({"ptrace"}).find("need not be denied"), std::string::npos);
  EXPECT_NE(ErrorOf({"setns"}).find("need not be denied"), std::string::npos);
  EXPECT_EQ(ErrorOf({std::string("\x1b[31m") + std::string(5000, 'x')}).find('\x1b'),
            std::string::npos);
}

TEST(DeniedCalls, AreRefusedAndOthersAreNot) {
  EXPECT_EQ(RunDenied({"exec"},
                      [] { return ErrnoOf(syscall(SYS_execve, "/bin/true", nullptr, nullptr)); }),
            EPERM);
  EXPECT_EQ(RunDenied({"sockets"}, [] { return ErrnoOf(socket(AF_UNIX, SOCK_STREAM, 0)); }), EPERM);
  EXPECT_EQ(RunDenied({"exec"}, [] { return ErrnoOf(socket(AF_UNIX, SOCK_STREAM, 0)); }), 0);
  EXPECT_EQ(RunDenied({"getrandom"}, [] { return ErrnoOf(syscall(SYS_getrandom, nullptr, 0, 0)); }),
            EPERM);
}

TEST(DeniedCalls, ForkRefusesProcessesAndLeavesThreads) {
  const auto clone = [](unsigned long flags) {
    const long pid = syscall(SYS_clone, flags, nullptr, nullptr, nullptr, nullptr);
    if (pid == 0) _exit(0);
    return ErrnoOf(pid);
  };
  EXPECT_EQ(RunDenied({"fork"}, [&] { return clone(SIGCHLD); }), EPERM);
  EXPECT_EQ(RunDenied({"fork"}, [] { return ErrnoOf(syscall(SYS_fork)); }), EPERM);
  EXPECT_EQ(RunDenied({"fork"}, [] { return ErrnoOf(syscall(SYS_vfork)); }), EPERM);
  // Of a thread the kernel itself refuses these flags: it was let through to it.
  EXPECT_EQ(RunDenied({"fork"}, [&] { return clone(CLONE_THREAD); }), EINVAL);
}

}  // namespace
}  // namespace spore
