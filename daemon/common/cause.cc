#include "daemon/common/cause.h"

#include <array>
#include <string_view>
#include <utility>

namespace spore {
namespace {

constexpr std::array<const char*, kCauses> kNames = {"",
                                                     "handler",
                                                     "import",
                                                     "handler_not_found",
                                                     "syntax",
                                                     "marshal",
                                                     "unmarshal",
                                                     "exit",
                                                     "signal",
                                                     "out_of_memory",
                                                     "timeout",
                                                     "pids",
                                                     "eviction",
                                                     "killed",
                                                     "response_too_large",
                                                     "protocol",
                                                     "daemon",
                                                     "throttled",
                                                     "overloaded",
                                                     "unavailable",
                                                     "not_found",
                                                     "invalid",
                                                     "exists",
                                                     "denied",
                                                     "precondition",
                                                     "internal"};

// FunctionError.type, of those that no instance died of.
constexpr std::array<std::pair<std::string_view, Cause>, 5> kTypes = {
    {{"Runtime.ImportModuleError", Cause::kImport},
     {"Runtime.HandlerNotFound", Cause::kHandlerNotFound},
     {"Runtime.UserCodeSyntaxError", Cause::kSyntax},
     {"Runtime.MarshalError", Cause::kMarshal},
     {"Runtime.UnmarshalError", Cause::kUnmarshal}}};

}  // namespace

const char* NameOf(Cause cause) {
  return kNames.at(static_cast<size_t>(cause));
}

Cause CauseOf(v1::Death::Cause cause) {
  static_assert(static_cast<int>(Cause::kDaemon) - static_cast<int>(Cause::kExit) ==
                v1::Death::DAEMON - v1::Death::EXIT);
  if (cause < v1::Death::EXIT || cause > v1::Death::DAEMON) return Cause::kNone;
  return static_cast<Cause>(static_cast<int>(Cause::kExit) + (cause - v1::Death::EXIT));
}

Cause CauseOf(const v1::FunctionError& error) {
  if (error.has_death()) {
    const Cause cause = CauseOf(error.death().cause());
    return cause == Cause::kNone ? Cause::kExit : cause;
  }
  for (const auto& [type, cause] : kTypes) {
    if (error.type() == type) return cause;
  }
  return Cause::kHandler;
}

Cause CauseOf(const Error& refused) {
  switch (refused.kind) {
    case ErrorKind::kOverloaded:
      // As spore.proto promises of its messages.
      return refused.operation.starts_with("throttled: ") ? Cause::kThrottled : Cause::kOverloaded;
    case ErrorKind::kUnavailable:
      return Cause::kUnavailable;
    case ErrorKind::kNotFound:
      return Cause::kNotFound;
    case ErrorKind::kInvalid:
      return Cause::kInvalid;
    case ErrorKind::kExists:
      return Cause::kExists;
    case ErrorKind::kDenied:
      return Cause::kDenied;
    case ErrorKind::kPrecondition:
      return Cause::kPrecondition;
    case ErrorKind::kInternal:
      break;
  }
  return Cause::kInternal;
}

}  // namespace spore
