// What spored and the process that branches a session (`spore-zygote branch`) say to each other, on
// a SOCK_SEQPACKET socket. Both are trusted, and built from one tree.
//
//   spored -> it   its order           words (zygote/branch/branch_options.h), and pidfds: of the
//                                      source's agent and of each branch's. It may have waited
//                                      for that for long
//   it -> spored   BranchReady         the sessions that become the branches may start interpreters
//   spored -> it   BranchInterpreters  they have
//   it -> spored   BranchDone          and are copies now; or why not
//
// Without an interpreter to be copied, BranchDone comes alone.
#pragma once

#include <cstdint>

#include "zygote/protocol.h"

namespace spore::wire {

constexpr uint32_t kMaxBranches = 16;
constexpr int kBranchChannelFd = 3;
constexpr size_t kMaxBranchOrder = 64 << 10;

struct BranchReady {
  uint32_t ready = 1;
};

struct BranchInterpreters {
  int32_t number[kMaxBranches] = {};  // each in its own pid namespace; 0: it has none
};

struct BranchDone {
  uint32_t error_kind = 0;  // ErrorKind, when it has failed
  uint32_t reserved = 0;
  char error[512] = {};       // NUL-terminated; empty: none
  uint64_t copied_bytes = 0;  // of memory, all branches together
  uint64_t stopped_us = 0;    // that the source's interpreter was held
  Steps steps;
};

}  // namespace spore::wire
