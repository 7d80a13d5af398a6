// What can go wrong between a client and spored.
#pragma once

#include <string>
#include <tl/expected.hpp>

namespace spore::client {

enum class ErrorKind {
  kUnreachable,  // no connection could be made; nothing was asked
  kLost,         // the connection ended, or carried nonsense, before the answer
  kRefused,      // spored answered with an error; `code` says which
  kLocal,        // something on this side: a file, memory, a message too large
};

// The codes of google.rpc.Status that spore.proto uses.
enum StatusCode : int {
  kInvalidArgument = 3,
  kNotFound = 5,
  kAlreadyExists = 6,
  kPermissionDenied = 7,
  kResourceExhausted = 8,
  kFailedPrecondition = 9,
  kUnimplemented = 12,
  kInternal = 13,
  kUnavailable = 14,
};

struct Error {
  ErrorKind kind = ErrorKind::kLocal;
  int code = 0;         // of kRefused
  int errno_value = 0;  // when a system call failed
  std::string message;
};

template <typename T = void>
using Result = tl::expected<T, Error>;

// An error of this side, with errno's text appended when `errno_value` is not 0.
tl::unexpected<Error> LocalError(std::string message, int errno_value = 0);

}  // namespace spore::client
