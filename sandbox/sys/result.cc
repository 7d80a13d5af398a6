#include "sandbox/sys/result.h"

#include <cerrno>

namespace spore {

std::string Error::Message() const {
  std::string text = operation;
  if (!object.empty()) text += " " + object;
  if (errno_value != 0) text += ": " + std::string(strerrordesc_np(errno_value));
  if (!hint.empty()) text += " (" + hint + ")";
  return text;
}

tl::unexpected<Error> SysError(std::string_view operation, std::string_view object,
                               std::string_view hint) {
  return SysErrorOf(errno, operation, object, hint);
}

tl::unexpected<Error> SysErrorOf(int errno_value, std::string_view operation,
                                 std::string_view object, std::string_view hint) {
  return tl::unexpected(Error{ErrorKind::kInternal, errno_value, std::string(operation),
                              std::string(object), std::string(hint)});
}

tl::unexpected<Error> MakeError(ErrorKind kind, std::string message, std::string_view hint) {
  return tl::unexpected(Error{kind, 0, std::move(message), {}, std::string(hint)});
}

}  // namespace spore
