// Why an invocation failed or was refused, for counting: a fixed set. What a function calls its
// errors is its own text, of which there is no end.
#pragma once

#include <cstddef>
#include <cstdint>

#include "sandbox/sys/result.h"
#include "spore/v1/spore.pb.h"

namespace spore {

enum class Cause : uint8_t {
  kNone,
  // The runtime's word.
  kHandler,  // what is none of the others
  kImport,
  kHandlerNotFound,
  kSyntax,
  kMarshal,
  kUnmarshal,
  // How the instance ended, in the order of v1::Death::Cause.
  kExit,
  kSignal,
  kOutOfMemory,
  kTimeout,
  kPids,
  kEviction,
  kKilled,
  kResponseTooLarge,
  kProtocol,
  kDaemon,
  // It got no instance.
  kThrottled,
  kOverloaded,
  kUnavailable,
  kNotFound,
  kInvalid,
  kExists,
  kDenied,
  kPrecondition,
  kInternal,
};
constexpr size_t kCauses = static_cast<size_t>(Cause::kInternal) + 1;

const char* NameOf(Cause cause);  // of kNone: empty
inline bool IsRefusal(Cause cause) {
  return cause >= Cause::kThrottled;
}

Cause CauseOf(const v1::FunctionError& error);
Cause CauseOf(v1::Death::Cause cause);
Cause CauseOf(const Error& refused);

}  // namespace spore
