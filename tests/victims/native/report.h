// Runs one attempt in a child and prints "name outcome": DONE, an errno's name, or the signal that
// ended it. The outcome travels as the child's exit status.
#pragma once

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

// `result` as from a system call: -1 and errno, or -errno.
static inline int Outcome(long result) {
  if (result >= 0) return 0;
  return result == -1 ? errno : (int)-result;
}

static inline void Report(const char* name, int (*attempt)(void)) {
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) _exit(attempt());
  int status = 0;
  if (child < 0 || waitpid(child, &status, 0) < 0) {
    printf("%s no-child\n", name);
  } else if (WIFSIGNALED(status)) {
    printf("%s signal-%d\n", name, WTERMSIG(status));
  } else if (WEXITSTATUS(status) == 0) {
    printf("%s DONE\n", name);
  } else {
    printf("%s %s\n", name, strerrorname_np(WEXITSTATUS(status)));
  }
}
