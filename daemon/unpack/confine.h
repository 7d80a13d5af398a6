// Gives up every power that unpacking does not need, before the first byte of the archive is read.
#pragma once

#include <sys/types.h>

#include <cstdint>

#include "sandbox/sys/result.h"

namespace spore::unpack {

struct Confinement {
  uid_t uid = 0;
  gid_t gid = 0;
  int directory = -1;         // the only place that may be written
  int keep_fds_below = 0;     // descriptors from here on are closed
  uint64_t file_bytes = 0;    // RLIMIT_FSIZE
  uint64_t memory_bytes = 0;  // RLIMIT_AS
  uint32_t cpu_seconds = 0;   // RLIMIT_CPU
  bool replaces = false;      // what it has made it may list, replace and remove: an image's layers
};

// In this order, each step needing a power that a later one takes away: descriptors, resource
// limits, bounding set, identity (no groups), capabilities, death with the parent, no_new_privs,
// Landlock (where the kernel has it), seccomp. Any failure is an error: nothing runs half confined.
Result<> Confine(const Confinement& confinement);

}  // namespace spore::unpack
