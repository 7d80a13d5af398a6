// A library that no zygote can have: its children would share a file that all could write to.
#define _GNU_SOURCE
#include <sys/mman.h>

__attribute__((constructor)) static void OpenAtLoad(void) {
  (void)memfd_create("kept-open", 0);
}
