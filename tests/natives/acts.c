// A program that does what its first argument says.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int Forks(void) {
  int made = 0;
  while (made < 1000) {
    const pid_t pid = fork();
    if (pid < 0) break;
    if (pid == 0) {
      pause();
      _exit(0);
    }
    ++made;
  }
  printf("%d %s\n", made, strerrorname_np(errno));
  return 0;
}

static int Opens(void) {
  int made = 0;
  while (open("/dev/null", O_RDONLY | O_CLOEXEC) >= 0) ++made;
  printf("%d %s\n", made, strerrorname_np(errno));
  return 0;
}

static int Eats(void) {
  for (;;) {
    char* block = malloc(1 << 20);
    if (block == NULL) return 1;
    memset(block, 1, 1 << 20);
  }
}

static int Fills(void) {
  static char block[65536];
  long made = 0;
  const int fd = open("/tmp/big", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  for (ssize_t put; (put = write(fd, block, sizeof block)) > 0;) made += put;
  printf("%ld %s\n", made, strerrorname_np(errno));
  return 0;
}

// Its own file, through every name that it has.
static int ChangesItself(const char* own) {
  const char* names[] = {own, "/proc/self/exe", "/var/task/new"};
  for (int i = 0; i < 3; ++i)
    if (open(names[i], O_RDWR | O_CREAT | O_CLOEXEC, 0700) >= 0) return 1;
  return chmod(own, 0777) == 0 || unlink(own) == 0 || rename(own, "/tmp/moved") == 0;
}

int main(int argc, char** argv) {
  const char* what = argc > 1 ? argv[1] : "";
  const char* more = argc > 2 ? argv[2] : "";
  if (strcmp(what, "exit") == 0) return (int)strtol(more, NULL, 10);
  if (strcmp(what, "kill") == 0) return raise((int)strtol(more, NULL, 10));
  if (strcmp(what, "forks") == 0) return Forks();
  if (strcmp(what, "opens") == 0) return Opens();
  if (strcmp(what, "eats") == 0) return Eats();
  if (strcmp(what, "fills") == 0) return Fills();
  if (strcmp(what, "changes itself") == 0) return ChangesItself(more);
  if (strcmp(what, "waits") == 0) {
    puts("waiting");
    fflush(stdout);
    for (;;) pause();
  }
  fprintf(stderr, "acts: what is '%s'?\n", what);
  return 2;
}
