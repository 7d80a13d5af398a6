#include "zygote/hosts/native/handler.h"

#include <cxxabi.h>

#include <cerrno>
#include <cstdlib>
#include <exception>
#include <memory>
#include <typeinfo>

namespace spore {
namespace {

struct Free {
  void operator()(char* text) const { free(text); }
};

std::string Readable(const char* mangled) {
  int status = 0;
  const std::unique_ptr<char, Free> name(abi::__cxa_demangle(mangled, nullptr, nullptr, &status));
  return status == 0 ? name.get() : mangled;
}

// Of the exception that is being handled. One of another language has no type that C++ knows, and
// is no std::exception_ptr either; the runtime of Rust ends the process once it has been caught.
std::string ThrownType() {
  if (!std::current_exception()) return "exception of another language";
  return Readable(abi::__cxa_current_exception_type()->name());
}

int SetResult(spore_response* response, const char* json, size_t length) {
  if (json == nullptr && length != 0) return EINVAL;
  try {
    static_cast<Answer*>(response->host)->result.assign(json == nullptr ? "" : json, length);
  } catch (const std::exception&) {
    return ENOMEM;
  }
  return 0;
}

int SetError(spore_response* response, const char* type, const char* message) {
  auto* answer = static_cast<Answer*>(response->host);
  try {
    answer->type = type == nullptr || *type == 0 ? "Error" : type;
    answer->message = message == nullptr ? "" : message;
  } catch (const std::exception&) {
    return ENOMEM;
  }
  answer->failed = true;
  return 0;
}

}  // namespace

Thrown CatchAll(void (*body)(void*), void* argument) {
  try {
    body(argument);
  } catch (const abi::__forced_unwind&) {
    throw;  // pthread_exit(3): the thread's end may not be held up
  } catch (const std::exception& error) {
    return {ThrownType(), error.what()};
  } catch (...) {
    return {ThrownType(), "an exception that is no std::exception left the function"};
  }
  return {};
}

Answer CallHandler(spore_handler* handler, const spore_context& context, std::string_view event) {
  Answer answer;
  spore_response response{SPORE_FUNCTION_VERSION, sizeof response, &answer, SetResult, SetError};
  int returned = 0;
  const Thrown thrown =
      CatchAll([&] { returned = handler(&context, event.data(), event.size(), &response); });
  if (!thrown.type.empty()) return {true, {}, thrown.type, thrown.message};
  if (returned != 0 && !answer.failed) {
    answer.failed = true;
    answer.type = "Error";
    answer.message = "the handler returned " + std::to_string(returned) + " and set no error";
  }
  return answer;
}

}  // namespace spore
