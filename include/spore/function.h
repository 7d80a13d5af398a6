// The C interface of Spore's native functions, version 1. spore-function(3) explains it.
//
// A function is a shared object that exports a handler:
//
//   int handle(const struct spore_context* context, const char* event, size_t event_length,
//              struct spore_response* response) {
//     return spore_set_result(response, "\"hello\"", 7);
//   }
//
//   cc -shared -fPIC -o libhello.so hello.c
//   spore function deploy hello --runtime native --handler libhello.so:handle libhello.so
//
// Nothing is to be linked: what a handler may call stands in the structure that it is given. C99,
// C++, and whatever can describe a C structure.
//
// Versions: a later one adds members at the end of the structures and changes none. An object that
// was built for this version works with every later host; one that uses what a later version added
// has to look at `version` first.
#ifndef SPORE_FUNCTION_H_
#define SPORE_FUNCTION_H_

#include <stddef.h>
#include <stdint.h>
#include <time.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SPORE_FUNCTION_VERSION 1

// One invocation. Texts end in a NUL, are UTF-8, and live as long as the handler's call.
struct spore_context {
  uint32_t version;              // of this interface, as the host knows it
  uint32_t size;                 // of this structure, as the host knows it
  const char* request_id;        // a UUID
  const char* function_name;     // as deployed
  const char* function_version;  // "$LATEST", or a published version's number
  const char* function_arn;      // a name of the kind that AWS Lambda gives
  const char* client_context;    // what the caller sent beside the event, JSON; NULL: nothing
  uint64_t memory_limit_mb;      // of the sandbox, in MiB
  int64_t deadline_unix_ms;      // when the sandbox is ended; milliseconds since 1970
};

// Takes the answer. Both calls copy what they are given and may be repeated: the last one counts.
// They return 0, or an errno value.
struct spore_response {
  uint32_t version;
  uint32_t size;
  void* host;  // the host's own
  int (*set_result)(struct spore_response* response, const char* json, size_t length);
  int (*set_error)(struct spore_response* response, const char* type, const char* message);
};

// The event is JSON: `event_length` bytes, and a NUL behind them that does not count.
// Returns 0 when the function has succeeded; the result is then what was set, or null. Any other
// value means failure, and so does an error that was set.
typedef int spore_handler(const struct spore_context* context, const char* event,
                          size_t event_length, struct spore_response* response);

// Sets the result, which must be JSON text in UTF-8: any value. What is no JSON reaches the caller
// as the error Runtime.MarshalError.
static inline int spore_set_result(struct spore_response* response, const char* json,
                                   size_t length) {
  return response->set_result(response, json, length);
}

// Fails the invocation with a type ("NoSuchUser") and a message of the function's own.
static inline int spore_set_error(struct spore_response* response, const char* type,
                                  const char* message) {
  return response->set_error(response, type, message);
}

// How long the invocation may still take; 0 when its time is up.
static inline int64_t spore_remaining_ms(const struct spore_context* context) {
  struct timespec now;
  int64_t left;
  clock_gettime(CLOCK_REALTIME, &now);
  left = context->deadline_unix_ms - ((int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000);
  return left > 0 ? left : 0;
}

#ifdef __cplusplus
}
#endif

#endif  // SPORE_FUNCTION_H_
