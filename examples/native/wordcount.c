// A function in C: how many lines, words and bytes the text in the event has.
//
//   cc -O2 -shared -fPIC -o libwordcount.so wordcount.c
//   spore function deploy wordcount --runtime native --handler libwordcount.so:handle libwordcount.so
//   spore invoke wordcount --payload '"one two\nthree"'
#include <ctype.h>
#include <spore/function.h>
#include <stdio.h>

int handle(const struct spore_context* context, const char* event, size_t event_length,
           struct spore_response* response) {
  size_t lines = 0, words = 0, bytes = 0;
  int inside = 0;
  if (event[0] != '"') return spore_set_error(response, "BadEvent", "expected a JSON string");
  for (size_t i = 1; i + 1 < event_length; ++i, ++bytes) {
    int space = isspace((unsigned char)event[i]) != 0;
    if (event[i] == '\\') {  // an escape of JSON: \n, \t, \", ..
      ++i;
      space = event[i] == 'n' || event[i] == 't' || event[i] == 'r';
      lines += event[i] == 'n';
    }
    words += !space && !inside;
    inside = !space;
  }
  fprintf(stderr, "%s: %lld ms left\n", context->request_id,
          (long long)spore_remaining_ms(context));
  char text[96];
  const int length = snprintf(text, sizeof text, "{\"lines\": %zu, \"words\": %zu, \"bytes\": %zu}",
                              lines, words, bytes);
  return spore_set_result(response, text, (size_t)length);
}
