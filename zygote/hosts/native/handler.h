// Calls into the tenant's code, and what may come out of it.
#pragma once

#include <string>
#include <string_view>
#include <type_traits>

#include "include/spore/function.h"

namespace spore {

// An exception that left the tenant's code; no type: none did.
struct Thrown {
  std::string type;
  std::string message;
};

// Calls `body`, and takes whatever it throws.
Thrown CatchAll(void (*body)(void*), void* argument);
template <typename Body>
Thrown CatchAll(Body&& body) {
  using Plain = std::remove_reference_t<Body>;
  return CatchAll([](void* argument) { (*static_cast<Plain*>(argument))(); }, &body);
}

// What the handler has made of one event.
struct Answer {
  bool failed = false;
  std::string result;         // JSON, as the handler gave it
  std::string type, message;  // of a failure
};
Answer CallHandler(spore_handler* handler, const spore_context& context, std::string_view event);

}  // namespace spore
