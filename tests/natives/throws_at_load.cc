// Cannot be loaded: a constructor of the object's own fails.
#include <stdexcept>

#include "include/spore/function.h"

static const int never = [] {
  throw std::logic_error("not today");
  return 1;
}();

extern "C" int handle(const spore_context*, const char*, size_t, spore_response*) {
  return never;
}
