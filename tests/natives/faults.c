// Handlers that do what a handler must not.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "include/spore/function.h"

#define HANDLER(name)                                                                       \
  int name(const struct spore_context* context, const char* event, size_t event_length, \
           struct spore_response* response)
#define UNUSED (void)context, (void)event, (void)event_length, (void)response

static int Number(struct spore_response* response, long number, int error) {
  char text[128];
  snprintf(text, sizeof text, "{\"made\":%ld,\"error\":\"%s\"}", number,
           error ? strerrorname_np(error) : "");
  return spore_set_result(response, text, strlen(text));
}

HANDLER(answers) {
  UNUSED;
  return spore_set_result(response, "\"well\"", 6);
}

HANDLER(loops) {
  UNUSED;
  for (volatile int i = 0;; ++i) {
  }
}

HANDLER(exits) {
  UNUSED;
  exit(7);
}

HANDLER(crashes) {
  UNUSED;
  *(volatile int*)8 = 1;
  return 0;
}

HANDLER(aborts) {
  UNUSED;
  abort();
}

HANDLER(ends_its_thread) {
  UNUSED;
  pthread_exit(NULL);
}

HANDLER(overruns_its_stack) {
  UNUSED;
  char here[65536];
  memset(here, 1, sizeof here);
  return overruns_its_stack(context, here, sizeof here, response) + here[5];
}

HANDLER(eats_memory) {
  UNUSED;
  for (;;) {
    char* block = malloc(1 << 20);
    if (block == NULL) return 1;
    memset(block, 1, 1 << 20);
  }
}

HANDLER(forks) {
  UNUSED;
  long made = 0;
  for (;; ++made) {
    const pid_t pid = fork();
    if (pid < 0) return Number(response, made, errno);
    if (pid == 0) {
      pause();
      _exit(0);
    }
  }
}

HANDLER(forks_wildly) {
  UNUSED;
  for (;;) fork();
}

HANDLER(opens_files) {
  UNUSED;
  long made = 0;
  while (open("/dev/null", O_RDONLY | O_CLOEXEC) >= 0) ++made;
  return Number(response, made, errno);
}

HANDLER(fills_tmp) {
  UNUSED;
  static char block[65536];
  long made = 0;
  const int fd = open("/tmp/big", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  for (ssize_t put; (put = write(fd, block, sizeof block)) > 0;) made += put;
  return Number(response, made, errno);
}

HANDLER(closes_its_channel) {
  UNUSED;
  close(3);
  return 0;
}

HANDLER(writes_to_its_channel) {
  UNUSED;
  return write(3, "rubbish, and more of it than a header", 37) == 37 ? 0 : 1;
}

HANDLER(forges_an_answer) {
  UNUSED;
  const struct {
    unsigned type, length;
    unsigned long id;
    char body[8];
  } frame = {18, 8, 99, "\"forged\""};
  if (write(3, &frame, sizeof frame) != sizeof frame) return 1;
  sleep(20);
  return 0;
}

HANDLER(floods_its_output) {
  UNUSED;
  for (int i = 0; i < 200000; ++i) printf("line %d of what nobody wants to read\n", i);
  return 0;
}

HANDLER(leaves_a_child) {
  UNUSED;
  const pid_t pid = fork();
  if (pid == 0) {
    sleep(1000);
    _exit(0);
  }
  return Number(response, pid > 0, 0);
}

HANDLER(ruins_its_response) {
  UNUSED;
  memset(response, 0xff, sizeof *response);
  return 0;
}
