// Errors as values: what was attempted, on what, what the kernel said, what to do next.
//
// Libraries return Result<T>; only main() and the RPC layer turn an Error into text for a person.
#pragma once

#include <cstring>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <utility>

namespace spore {

// What the caller can do about an error; maps one to one onto the codes of spore.proto.
enum class ErrorKind {
  kInternal,  // Spore or the kernel failed
  kInvalid,   // the caller's input is wrong
  kNotFound,
  kExists,
  kDenied,        // the caller may not
  kOverloaded,    // a limit or queue is full; later may work
  kPrecondition,  // something else must be repaired first; the hint says what
  kUnavailable,   // stopping, or the peer is gone
};

struct Error {
  ErrorKind kind = ErrorKind::kInternal;
  int errno_value = 0;    // 0 when no system call is at fault
  std::string operation;  // "mount tmpfs", or the whole sentence for input errors
  std::string object;     // "/tmp"; may be empty
  std::string hint;       // what to do next; may be empty

  // "mount tmpfs on /tmp: No space left on device (hint)".
  std::string Message() const;

  // Puts what the caller was doing in front: "start zygote python: <operation>".
  Error Wrap(std::string_view doing) && {
    operation = std::string(doing) + ": " + operation;
    return std::move(*this);
  }
};

template <typename T = void>
using Result = tl::expected<T, Error>;

// An error of the system call that just failed: reads errno before anything can change it.
tl::unexpected<Error> SysError(std::string_view operation, std::string_view object = {},
                               std::string_view hint = {});
// As above with an explicit errno (io_uring results, values sent by another process).
tl::unexpected<Error> SysErrorOf(int errno_value, std::string_view operation,
                                 std::string_view object = {}, std::string_view hint = {});
// An error without an errno.
tl::unexpected<Error> MakeError(ErrorKind kind, std::string message, std::string_view hint = {});

}  // namespace spore

#define SPORE_CONCAT_(a, b) a##b
#define SPORE_CONCAT(a, b) SPORE_CONCAT_(a, b)
// Returns the error of a Result<> expression to the caller's caller.
#define SPORE_TRY(expr)                                           \
  do {                                                            \
    if (auto spore_try_result = (expr); !spore_try_result)        \
      return tl::unexpected(std::move(spore_try_result).error()); \
  } while (false)
// Declares or assigns `lhs` from a Result<T> expression, or returns its error.
#define SPORE_ASSIGN(lhs, expr) SPORE_ASSIGN_(SPORE_CONCAT(spore_assign_, __LINE__), lhs, expr)
#define SPORE_ASSIGN_(tmp, lhs, expr)                      \
  auto tmp = (expr);                                       \
  if (!tmp) return tl::unexpected(std::move(tmp).error()); \
  lhs = std::move(*tmp)
