// A library that has used OpenSSL's generator before it is forked, and a handler that uses it after.
#include <stdio.h>

#include "include/spore/function.h"

int RAND_bytes(unsigned char* bytes, int count);

static unsigned first;

__attribute__((constructor)) static void DrawAtLoad(void) {
  RAND_bytes((unsigned char*)&first, sizeof first);
}

int draw(const struct spore_context* context, const char* event, size_t event_length,
         struct spore_response* response) {
  (void)context, (void)event, (void)event_length;
  unsigned now = 0;
  char text[64];
  RAND_bytes((unsigned char*)&now, sizeof now);
  return spore_set_result(response, text,
                          (size_t)snprintf(text, sizeof text, "[%u,%u]", first, now));
}
