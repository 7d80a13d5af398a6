// Handlers in C++ that an exception leaves.
#include <unwind.h>
#include <iostream>
#include <stdexcept>

#include "include/spore/function.h"

namespace shop {
struct OutOfStock : std::runtime_error {
  using runtime_error::runtime_error;
};
}  // namespace shop

extern "C" {
int throws(const spore_context*, const char*, size_t, spore_response*) {
  std::cout << "about to throw\n";
  throw shop::OutOfStock("no apples");
}
int throws_a_number(const spore_context*, const char*, size_t, spore_response*) {
  throw 5;
}
// As the runtime of another language would: with an exception class of its own.
int throws_what_is_not_of_cxx(const spore_context*, const char*, size_t, spore_response*) {
  static _Unwind_Exception foreign = {0x4f54484552000000, nullptr, 0, 0};
  return _Unwind_RaiseException(&foreign);
}
int catches_its_own(const spore_context*, const char*, size_t, spore_response* response) {
  try {
    throw shop::OutOfStock("no pears");
  } catch (const std::exception& error) {
    return spore_set_result(response, "\"caught\"", 8);
  }
}
}

int has_a_mangled_name(const spore_context*, const char*, size_t, spore_response*) {
  return 0;
}
