// Handlers in C++ that an exception leaves.
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
