// A library that no zygote can have: it has a thread of its own as soon as it is loaded.
#include <pthread.h>
#include <unistd.h>

static void* Wait(void* nothing) {
  for (;;) pause();
  return nothing;
}

__attribute__((constructor)) static void StartAtLoad(void) {
  pthread_t thread;
  pthread_create(&thread, 0, Wait, 0);
}
