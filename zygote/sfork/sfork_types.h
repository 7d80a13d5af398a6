// What libsfork's parts and its users both name.
#pragma once

#include <sys/stat.h>
#include <sys/types.h>

namespace spore {

// What a descriptor was at the freeze, to be compared before each clone.
struct DescriptorNote {
  int fd = -1;
  dev_t device = 0;
  ino_t inode = 0;
  mode_t mode = 0;
};

}  // namespace spore
