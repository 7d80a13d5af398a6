// A child made once, at the freeze, to try what every child will rely on.
#pragma once

#include <cstddef>
#include <cstdint>

#include "sandbox/sys/result.h"

namespace spore {

struct TrialFindings {
  uint32_t rseq_length = 0;  // with which glibc has registered its rseq areas
};

// Clones a child in which the caller is alone, and in it takes malloc's locks, of all arenas, and
// the dynamic loader's. One that a stopped thread holds is free never: the child hangs, is killed,
// and the error names the lock. This works without knowing where a libc keeps its locks.
//
// Allocates nothing before the child has come through. On failure `*hung_at` says what it could not
// do, or is null when a system call failed (errno).
bool RunTrial(int32_t* tid_address, TrialFindings* findings, const char** hung_at);

}  // namespace spore
