// Links to a library that lies beside it.
#include <stdio.h>

#include "include/spore/function.h"

int neighbour(void);

int handle(const struct spore_context* context, const char* event, size_t event_length,
           struct spore_response* response) {
  (void)context, (void)event, (void)event_length;
  char text[32];
  return spore_set_result(response, text, (size_t)snprintf(text, sizeof text, "%d", neighbour()));
}
