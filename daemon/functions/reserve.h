// What the versions of a function ask of the scheduler.
#pragma once

#include <sys/types.h>

#include <cstdint>

namespace spore {

// What of a version of a function is kept ready although nobody has asked for it: of one whose
// instances are used again, so many live ones; of any other, so many that have it loaded and served
// nobody.
struct Reserve {
  uint64_t version = 0;
  uint32_t instances = 0;      // 0: none
  uint32_t max_instances = 0;  // of the function
  bool reuse = false;
  uid_t client = 0;
};

}  // namespace spore
