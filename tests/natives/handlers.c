// Handlers of functions in C, one for each thing that a test asks about.
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <unistd.h>

#include "include/spore/function.h"

#define HANDLER(name)                                                                       \
  int name(const struct spore_context* context, const char* event, size_t event_length, \
           struct spore_response* response)
#define UNUSED (void)context, (void)event, (void)event_length, (void)response

static int Reply(struct spore_response* response, const char* text) {
  return spore_set_result(response, text, strlen(text));
}

int not_a_function = 5;

HANDLER(echo) {
  UNUSED;
  return event[event_length] == 0 ? spore_set_result(response, event, event_length) : 1;
}

HANDLER(describe) {
  UNUSED;
  char text[4096], folder[512];
  const char* home = getenv("HOME");
  const char* own = getenv("OWN");
  snprintf(text, sizeof text,
           "{\"version\":%u,\"request\":\"%s\",\"name\":\"%s\",\"function_version\":\"%s\","
           "\"arn\":\"%s\",\"client\":%s,\"mb\":%llu,\"left\":%lld,\"cwd\":\"%s\",\"home\":\"%s\","
           "\"own\":\"%s\",\"handler\":\"%s\",\"pid\":%d,\"session\":%d,\"sizes\":%d}",
           context->version, context->request_id, context->function_name,
           context->function_version, context->function_arn,
           context->client_context ? context->client_context : "null",
           (unsigned long long)context->memory_limit_mb, (long long)spore_remaining_ms(context),
           getcwd(folder, sizeof folder), home ? home : "", own ? own : "", getenv("_HANDLER"),
           getpid(), getsid(0),
           context->size >= sizeof *context && response->size >= sizeof *response);
  return Reply(response, text);
}

HANDLER(nothing) {
  UNUSED;
  return 0;
}

// Answers with the event's text, which JSON holds as a string; so a test can send any bytes.
HANDLER(unquote) {
  UNUSED;
  char* text = malloc(event_length + 1);
  size_t length = 0;
  for (size_t i = 1; i + 1 < event_length; ++i) {
    unsigned byte = 0;
    if (sscanf(event + i, "%2x", &byte) == 1) text[length++] = (char)byte;
    ++i;
  }
  spore_set_result(response, text, length);
  free(text);
  return 0;
}

HANDLER(last_result_counts) {
  UNUSED;
  Reply(response, "1");
  return Reply(response, "[2]");
}

HANDLER(sets_error) {
  UNUSED;
  return spore_set_error(response, "NoSuchUser", "no user \"ada\"\n\xff");
}

HANDLER(sets_error_and_fails) {
  UNUSED;
  Reply(response, "1");
  spore_set_error(response, NULL, NULL);
  return 3;
}

HANDLER(returns_seven) {
  UNUSED;
  return 7;
}

HANDLER(counts) {
  UNUSED;
  static int calls;
  char text[32];
  snprintf(text, sizeof text, "%d", ++calls);
  return Reply(response, text);
}

HANDLER(prints) {
  UNUSED;
  printf("a whole line\nno end");
  fprintf(stderr, "to stderr\n");
  return 0;
}

HANDLER(prints_and_hangs) {
  UNUSED;
  printf("before the end\n");
  for (;;) pause();
}

static void* Add(void* sum) {
  for (int i = 0; i < 1000; ++i) __atomic_fetch_add((int*)sum, 1, __ATOMIC_RELAXED);
  return NULL;
}
HANDLER(has_threads) {
  UNUSED;
  pthread_t threads[8];
  int sum = 0;
  char text[32];
  for (int i = 0; i < 8; ++i)
    if (pthread_create(&threads[i], NULL, Add, &sum) != 0) return 1;
  for (int i = 0; i < 8; ++i) pthread_join(threads[i], NULL);
  snprintf(text, sizeof text, "%d", sum);
  return Reply(response, text);
}

// What the kernel and the C library give out at random.
HANDLER(draws) {
  UNUSED;
  unsigned long kernel = 0;
  char text[128];
  if (getrandom(&kernel, sizeof kernel, 0) != sizeof kernel) return 1;
  char name[] = "/tmp/draw-XXXXXX";
  if (mkstemp(name) < 0) return 2;
  snprintf(text, sizeof text, "[\"%lu\",\"%s\",\"%u\"]", kernel, name, arc4random());
  return Reply(response, text);
}

HANDLER(answers_at_length) {
  UNUSED;
  const size_t length = (size_t)strtoul(event, NULL, 10);
  char* text = malloc(length);
  memset(text, 'x', length);
  text[0] = text[length - 1] = '"';
  spore_set_result(response, text, length);
  free(text);
  return 0;
}

HANDLER(lists_libraries) {
  UNUSED;
  char line[512], text[65536] = "[\"\"";
  FILE* maps = fopen("/proc/self/maps", "re");
  while (maps != NULL && fgets(line, sizeof line, maps) != NULL) {
    char* path = strchr(line, '/');
    if (path == NULL || strstr(line, " r-xp ") == NULL) continue;
    path[strcspn(path, "\n")] = 0;
    snprintf(text + strlen(text), sizeof text - strlen(text), ",\"%s\"", path);
  }
  strcat(text, "]");
  return Reply(response, text);
}

// Runs a program of the function's, the event on its stdin; answers with what it prints.
HANDLER(runs_victims) {
  UNUSED;
  int in[2], out[2];
  static char text[1 << 20];
  size_t length = 0;
  if (pipe2(in, O_CLOEXEC) < 0 || pipe2(out, O_CLOEXEC) < 0) return 1;
  const pid_t pid = fork();
  if (pid == 0) {
    dup2(in[0], 0);
    dup2(out[1], 1);
    execl("/usr/bin/python3", "python3", "/var/task/main.py", NULL);
    _exit(127);
  }
  close(in[0]);
  close(out[1]);
  if (pid < 0 || write(in[1], event, event_length) != (ssize_t)event_length) return 2;
  close(in[1]);
  for (ssize_t got; (got = read(out[0], text + length, sizeof text - length)) > 0;)
    length += (size_t)got;
  close(out[0]);
  waitpid(pid, NULL, 0);
  return spore_set_result(response, text, length);
}
