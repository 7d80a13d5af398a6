// What a call of Spore's client library for C++ comes to: a value, or an Error. client.h explains.
#ifndef SPORE_ERROR_H_
#define SPORE_ERROR_H_

#include <string>
#include <tl/expected.hpp>
#include <vector>

namespace spore {
// The binary interface's version: part of every symbol's name, never written in programs.
inline namespace client_0 {

enum class ErrorKind {
  kConnectionFailed,    // spored could not be reached, or went away before it had answered
  kTimedOut,            // ClientOptions::timeout was over; the call is cancelled
  kInvalidArgument,     // a field is wrong; the message names it, its value and what was expected
  kNotFound,            // no such function, sandbox, file or image
  kAlreadyExists,       // the name is taken
  kPermissionDenied,    // the caller may not do this
  kOverloaded,          // a limit of the host, the caller, the function or the sandbox is reached
  kFailedPrecondition,  // not in this state: the sandbox has ended, the image cannot be used, ..
  kCallFailed,          // spored refused for another reason; `code` says which
  kFunctionFailed,      // a function's own failure: its `type` and `stack_trace`
  kCodeFailed,          // a piece of code has raised: its `type` and `stack_trace`
  kExecFailed,          // a program has ended with a code that is not 0
  kLocal,               // something on this side: a file, memory, a message too large
};

struct Error {
  ErrorKind kind = ErrorKind::kLocal;
  std::string message;  // for a person; what functions and sandboxes say of themselves is hostile
  int code = 0;         // of google.rpc.Code, where spored has refused
  int errno_value = 0;  // where a system call of this side failed
  std::string type;     // class of the exception, or "Runtime.ExitError", "Sandbox.Timedout", ..
  std::vector<std::string> stack_trace;
};

template <typename T = void>
using Result = tl::expected<T, Error>;

}  // namespace client_0
}  // namespace spore

#endif  // SPORE_ERROR_H_
